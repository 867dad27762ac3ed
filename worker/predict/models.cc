#include "worker/predict/models.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

#include "shared/base/json_text.h"
#include "shared/config/routes_key.h"
#include "worker/predict/pipelines.h"
#include "worker/routes/route_service.h"

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
std::vector<std::string> ServersOf(const http::Services& services,
                                   const backend::ModelVersion& model) {
  const backend::Client& client = services.client;
  std::vector<std::string> servers;
  for (std::size_t i = 0; client.targets() > 1 && i < client.targets(); ++i) {
    if (client.directory().Look(i, model) == backend::ModelDirectory::Has::kYes) {
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

// The routes and the models that a list has: a route's name, or a model's that no route hides, with
// what to describe.
struct Listed {
  std::string name;
  backend::ModelVersion model;
  const Config::Route* route = nullptr;  // null: it is a model
};

std::vector<Listed> ToList(const std::vector<std::string>& models, const Config::Routes& routes) {
  std::vector<Listed> list;
  for (const std::string& name : models) {
    if (!routes.contains(name)) list.push_back({name, {name}});
  }
  for (const auto& [name, route] : routes) {
    list.push_back({name, {route.model, route.version}, &route});
  }
  std::ranges::sort(list, {}, &Listed::name);
  return list;
}

}  // namespace

fcgi::Response ListModels(http::Exchange& exchange, const http::Services& services) {
  const auto names = services.client.Models(exchange.limits.deadline);
  if (!names.ok()) return exchange.Fail(http::BackendProblem(names.status(), ""));
  // One that does not describe its models must not take the list from those that do.
  constexpr std::chrono::seconds kPatience{2};
  const TimePoint start = Clock::now();
  const TimePoint end = start + exchange.limits.deadline.Left(start) / 2;
  const auto routes = services.routes == nullptr ? std::make_shared<const Config::Routes>()
                                                 : services.routes->live.Current();
  std::vector<std::string> items;
  for (const auto& [name, asked, route] : ToList(*names, *routes)) {
    if (!exchange.MayUse(name) || !http::CanBeModelName(name)) continue;
    if (FindPipeline(services.config, name) != nullptr) continue;  // which goes by that name
    if (exchange.limits.departed.stop_requested()) return exchange.Fail(http::ClientLeft());
    auto model = services.catalog.Get(asked, Deadline(std::min(end, Clock::now() + kPatience)));
    if (!model.ok()) {
      const bool is_named = route != nullptr || services.config.models.contains(name);
      if (absl::IsNotFound(model.status()) && !is_named) continue;  // unloaded meanwhile
      model = Undescribed(name, http::BackendProblem(model.status(), name).detail);
    }
    const std::vector<std::string> servers = ServersOf(services, asked);
    items.push_back(route == nullptr ? ToJson(**model, servers)
                                     : ToJson(**model, servers, name, *route));
  }
  for (const auto& [name, pipeline] : services.config.pipelines) {
    if (!exchange.MayUse(name) || CheckKey(exchange, services, name, pipeline)) continue;
    const std::vector<std::string> models = ModelsOf(pipeline);
    const bool has_all = std::ranges::all_of(models, [&](const std::string& model) {
      return routes->contains(model) || std::ranges::find(*names, model) != names->end();
    });
    if (!has_all && IsDefault(name, pipeline)) continue;
    if (exchange.limits.departed.stop_requested()) return exchange.Fail(http::ClientLeft());
    const Deadline deadline(std::min(end, Clock::now() + kPatience));
    items.push_back(DescribePipeline(exchange, services, name, pipeline, deadline));
  }
  return http::Json(fmt::format("{{\"models\":[{}]}}\n", fmt::join(items, ",")));
}

fcgi::Response DescribeModel(http::Exchange& exchange, const http::Services& services) {
  const http::Lead& lead = exchange.lead;
  if (const Config::Step* pipeline = FindPipeline(services.config, lead.name)) {
    if (const auto problem = CheckKey(exchange, services, lead.name, *pipeline)) {
      return exchange.Fail(*problem);
    }
    return http::Json(
        DescribePipeline(exchange, services, lead.name, *pipeline, exchange.limits.deadline) +
        "\n");
  }
  if (lead.ways.empty()) {
    return exchange.Fail(http::BackendProblem(absl::NotFoundError(""), lead.name));
  }
  // What a route leads to for most clients, as the list has it.
  const backend::ModelVersion model =
      lead.is_route() ? backend::ModelVersion{lead.route().model, lead.route().version}
                      : lead.ways.front().model;
  const auto known = services.catalog.Get(model, exchange.limits.deadline);
  if (!known.ok()) return exchange.Fail(http::BackendProblem(known.status(), Name(model)));
  const std::vector<std::string> servers = ServersOf(services, model);
  return http::Json((lead.is_route() ? ToJson(**known, servers, lead.name, lead.route())
                                     : ToJson(**known, servers)) +
                    "\n");
}

std::string ToJson(const backend::Model& model, const std::vector<std::string>& servers,
                   const std::string& name, const Config::Route& route) {
  backend::Model named = model;
  named.description.name = name;
  std::string json = ToJson(named, servers);
  json.pop_back();
  return json + fmt::format(R"(,"route":{}}})", inferpool::ToJson(route));
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
