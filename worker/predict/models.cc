#include "worker/predict/models.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

#include "shared/base/json_text.h"
#include "worker/predict/pipelines.h"

namespace inferpool::predict {
namespace {

std::string ToJson(const std::vector<std::string>& texts) {
  std::vector<std::string> items;
  items.reserve(texts.size());
  for (const std::string& text : texts) items.push_back(QuotedJson(text));
  return fmt::format("[{}]", fmt::join(items, ","));
}

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

// What is said of a model that no server describes.
std::shared_ptr<const backend::Model> Undescribed(const std::string& name, std::string reason) {
  return std::make_shared<const backend::Model>(
      backend::Model{.description = {.name = name,
                                     .version = "",
                                     .inputs = {},
                                     .outputs = {},
                                     .class_names = {},
                                     .parameters = {}},
                     .plan = absl::FailedPreconditionError(std::move(reason))});
}

// The servers that are known to have the model; empty when there is only one.
std::vector<std::string> ServersOf(const http::Services& services, const std::string& name) {
  const backend::Client& client = services.client;
  std::vector<std::string> servers;
  for (std::size_t i = 0; client.targets() > 1 && i < client.targets(); ++i) {
    if (client.directory().Look(i, {name}) == backend::ModelDirectory::Has::kYes) {
      servers.push_back(client.State(i).name);
    }
  }
  return servers;
}

// Nobody has asked for it, so nobody misses it where its models are not.
bool IsDefault(const std::string& name, const Config::Step& pipeline) {
  static const Config::Pipelines kDefaults = Config::DefaultPipelines();
  const auto found = kDefaults.find(name);
  return found != kDefaults.end() && found->second == pipeline;
}

// The longer side of a picture of which the model sees every pixel. None where that is not known
// for all pictures: where the shorter side decides, and where the model server decodes the file.
std::optional<int> UsefulSide(const vision::ModelPlan& plan) {
  const vision::InputLayout& input = plan.input;
  if (plan.input_kind != vision::InputKind::kPixels) return std::nullopt;
  if (input.size.width == 0 && input.size.height == 0) return input.max_side;
  if (input.size.empty() || input.resize != vision::Resize::kLetterbox) return std::nullopt;
  return std::max(input.size.width, input.size.height);
}

}  // namespace

fcgi::Response ListModels(http::Exchange& exchange, const http::Services& services) {
  const auto names = services.client.Models(exchange.limits.deadline);
  if (!names.ok()) return exchange.Fail(http::BackendProblem(names.status(), ""));
  // One that does not describe its models must not take the list from those that do.
  constexpr std::chrono::seconds kPatience{2};
  const TimePoint start = Clock::now();
  const TimePoint end = start + exchange.limits.deadline.Left(start) / 2;
  std::vector<std::string> items;
  for (const std::string& name : *names) {
    if (!exchange.MayUse(name) || !http::CanBeModelName(name)) continue;
    if (FindPipeline(services.config, name) != nullptr) continue;  // which goes by that name
    if (exchange.limits.departed.stop_requested()) return exchange.Fail(http::ClientLeft());
    auto model = services.catalog.Get(name, Deadline(std::min(end, Clock::now() + kPatience)));
    if (!model.ok()) {
      const bool is_named = services.config.models.contains(name);
      if (absl::IsNotFound(model.status()) && !is_named) continue;  // unloaded meanwhile
      model = Undescribed(name, http::BackendProblem(model.status(), name).detail);
    }
    items.push_back(ToJson(**model, ServersOf(services, name)));
  }
  for (const auto& [name, pipeline] : services.config.pipelines) {
    if (!exchange.MayUse(name) || CheckKey(exchange, name, pipeline)) continue;
    const std::vector<std::string> models = ModelsOf(pipeline);
    const bool has_all = std::ranges::all_of(models, [&names](const std::string& model) {
      return std::ranges::find(*names, model) != names->end();
    });
    if (!has_all && IsDefault(name, pipeline)) continue;
    if (exchange.limits.departed.stop_requested()) return exchange.Fail(http::ClientLeft());
    const Deadline deadline(std::min(end, Clock::now() + kPatience));
    items.push_back(DescribePipeline(services, name, pipeline, deadline));
  }
  return http::Json(fmt::format("{{\"models\":[{}]}}\n", fmt::join(items, ",")));
}

fcgi::Response DescribeModel(http::Exchange& exchange, const http::Services& services,
                             const std::string& model) {
  if (!http::CanBeModelName(model)) {
    return exchange.Fail(http::BackendProblem(absl::NotFoundError(""), model));
  }
  if (const Config::Step* pipeline = FindPipeline(services.config, model)) {
    if (const auto problem = CheckKey(exchange, model, *pipeline)) return exchange.Fail(*problem);
    return http::Json(DescribePipeline(services, model, *pipeline, exchange.limits.deadline) +
                      "\n");
  }
  const auto known = services.catalog.Get(model, exchange.limits.deadline);
  if (!known.ok()) return exchange.Fail(http::BackendProblem(known.status(), model));
  return http::Json(ToJson(**known, ServersOf(services, model)) + "\n");
}

std::string ToJson(const backend::Model& model, const std::vector<std::string>& servers) {
  const ModelDescription& description = model.description;
  const std::string family =
      model.plan.ok() ? fmt::format("\"family\":\"{}\"", vision::Name(model.plan->family))
                      : fmt::format("\"family\":null,\"unusable\":{}",
                                    QuotedJson(Message(model.plan.status())));
  std::string rest;
  if (const auto side = model.plan.ok() ? UsefulSide(*model.plan) : std::nullopt) {
    rest = fmt::format(",\"useful_side\":{}", *side);
  }
  if (!servers.empty()) rest += fmt::format(",\"servers\":{}", ToJson(servers));
  return fmt::format(
      R"({{"name":{},"version":{},{},"max_batch_size":{},"inputs":{},"outputs":{},"class_names":{}{}}})",
      QuotedJson(description.name), QuotedJson(description.version), family,
      description.max_batch_size, ToJson(description.inputs), ToJson(description.outputs),
      ToJson(description.class_names), rest);
}

}  // namespace inferpool::predict
