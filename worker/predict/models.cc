#include "worker/predict/models.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "shared/base/json_text.h"

namespace inferpool::predict {
namespace {

std::string ToJson(const std::vector<TensorSpec>& tensors) {
  std::vector<std::string> items;
  items.reserve(tensors.size());
  for (const TensorSpec& tensor : tensors) {
    items.push_back(fmt::format(R"({{"name":{},"datatype":{},"shape":[{}]}})",
                                QuotedJson(tensor.name), QuotedJson(tensor.datatype),
                                fmt::join(tensor.shape, ",")));
  }
  return fmt::format("[{}]", fmt::join(items, ","));
}

}  // namespace

fcgi::Response ListModels(http::Exchange& exchange, const http::Services& services) {
  const Deadline deadline = exchange.limits.deadline;
  const auto names = services.client.ReadyModels(deadline);
  if (!names.ok()) return exchange.Fail(http::BackendProblem(names.status(), ""));
  std::vector<std::shared_ptr<const backend::Model>> models;
  for (const std::string& name : *names) {
    if (!exchange.MayUse(name) || !http::CanBeModelName(name)) continue;
    auto model = services.catalog.Get(name, deadline);
    if (absl::IsNotFound(model.status())) continue;  // unloaded meanwhile
    if (!model.ok()) return exchange.Fail(http::BackendProblem(model.status(), name));
    models.push_back(*std::move(model));
  }
  return http::Json(ToJson(models));
}

fcgi::Response DescribeModel(http::Exchange& exchange, const http::Services& services,
                             const std::string& model) {
  if (!http::CanBeModelName(model)) {
    return exchange.Fail(http::BackendProblem(absl::NotFoundError(""), model));
  }
  const auto known = services.catalog.Get(model, exchange.limits.deadline);
  if (!known.ok()) return exchange.Fail(http::BackendProblem(known.status(), model));
  return http::Json(ToJson(**known) + "\n");
}

std::string ToJson(const backend::Model& model) {
  const ModelDescription& description = model.description;
  const std::string family =
      model.plan.ok() ? fmt::format("\"family\":\"{}\"", vision::Name(model.plan->family))
                      : fmt::format("\"family\":null,\"unusable\":{}",
                                    QuotedJson(Message(model.plan.status())));
  std::vector<std::string> names;
  for (const std::string& name : description.class_names) names.push_back(QuotedJson(name));
  return fmt::format(
      R"({{"name":{},"version":{},{},"max_batch_size":{},"inputs":{},"outputs":{},"class_names":[{}]}})",
      QuotedJson(description.name), QuotedJson(description.version), family,
      description.max_batch_size, ToJson(description.inputs), ToJson(description.outputs),
      fmt::join(names, ","));
}

std::string ToJson(const std::vector<std::shared_ptr<const backend::Model>>& models) {
  std::vector<std::string> items;
  items.reserve(models.size());
  for (const auto& model : models) items.push_back(ToJson(*model));
  return fmt::format("{{\"models\":[{}]}}\n", fmt::join(items, ","));
}

}  // namespace inferpool::predict
