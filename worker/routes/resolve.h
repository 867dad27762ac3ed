// What a route leads to for one client. Decisions only: the same route, client and configuration
// give the same answer in every worker, after every restart and on every machine.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shared/config/config.h"
#include "worker/backend/rpc/model_directory.h"

namespace inferpool::routes {

enum class Variant { kPrimary, kCanary, kFallback };

std::string_view Name(Variant variant);

// By what clients are told apart.
struct Client {
  std::string_view key = {};  // the API key's name; empty: none
  std::string_view address = {};
};

// A model that a request may be answered by.
struct Way {
  backend::ModelVersion model;
  Variant variant = Variant::kPrimary;

  bool operator==(const Way&) const = default;
};

// Where `text` falls between 0 and 100, evenly. Two routes place their clients independently.
double PlaceOf(std::string_view route, std::string_view text);

// Whether the client is of those who get the route's canary, which it must have. A client who is
// stays so when the percentage is raised. Clients are told apart by their keys, or by address,
// which is an IPv6 network of /64: by that too where there are no keys.
bool IsInCanary(const std::string& name, const Config::Route& route, const Client& client);

// The models that a request for the route may be answered by, best first, at least one: what the
// route leads to for this client (for one of the canary then the primary model), then the fallback,
// then the fallback's fallback if it is a route. `name` must be one of `routes`.
std::vector<Way> WaysOf(const std::string& name, const Config::Routes& routes,
                        const Client& client);

// The model that is to be asked as well for this request, if any. `request_id` decides.
std::optional<backend::ModelVersion> ShadowOf(const std::string& name, const Config::Route& route,
                                              std::string_view request_id);

}  // namespace inferpool::routes
