#include "worker/routes/resolve.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <xxhash.h>

#include <algorithm>
#include <array>

namespace inferpool::routes {
namespace {

constexpr double kAll = 100;

// What stays of an address when its owner takes another one of the same network.
std::string NetworkOf(std::string_view address) {
  constexpr std::size_t kNetwork = 8;  // bytes of an IPv6 address
  std::array<unsigned char, sizeof(in6_addr)> ipv6{};
  const std::string text(address);
  if (inet_pton(AF_INET6, text.c_str(), ipv6.data()) != 1) return text;
  if (IN6_IS_ADDR_V4MAPPED(reinterpret_cast<const in6_addr*>(ipv6.data()))) return text;
  std::array<char, INET6_ADDRSTRLEN> shown{};
  std::fill(ipv6.begin() + kNetwork, ipv6.end(), static_cast<unsigned char>(0));
  inet_ntop(AF_INET6, ipv6.data(), shown.data(), shown.size());
  return shown.data();
}

bool IsWithin(double percent, double place) {
  return percent >= kAll || place < percent;
}

}  // namespace

std::string_view Name(Variant variant) {
  switch (variant) {
    case Variant::kPrimary:
      return "primary";
    case Variant::kCanary:
      return "canary";
    case Variant::kFallback:
      return "fallback";
  }
  return "";
}

double PlaceOf(std::string_view route, std::string_view text) {
  std::string whole(route);
  whole += '\0';
  whole += text;
  // 53 bits, all that a double has.
  constexpr int kShift = 11;
  constexpr double kRange = 9007199254740992.0;
  return static_cast<double>(XXH3_64bits(whole.data(), whole.size()) >> kShift) / kRange * kAll;
}

bool IsInCanary(const std::string& name, const Config::Route& route, const Client& client) {
  const Config::Route::Canary& canary = *route.canary;
  const bool by_key = !canary.by_address && !client.key.empty();
  const std::string identity =
      by_key ? "key " + std::string(client.key) : "address " + NetworkOf(client.address);
  return IsWithin(canary.percent, PlaceOf(name, identity));
}

std::vector<Way> WaysOf(const std::string& name, const Config::Routes& routes,
                        const Client& client) {
  std::vector<Way> ways;
  const auto add = [&ways](const std::string& model, const std::string& version, Variant variant) {
    const backend::ModelVersion asked{model, version};
    if (std::ranges::find(ways, asked, &Way::model) == ways.end()) ways.push_back({asked, variant});
  };
  std::string at = name;
  // Fallbacks form no circle, but a table that was not checked shall not hold a thread.
  for (std::size_t steps = 0; steps <= routes.size(); ++steps) {
    const bool is_fallback = steps > 0;
    const auto found = routes.find(at);
    if (found == routes.end()) {
      const auto split = backend::SplitVersion(at).value_or(backend::ModelVersion{at});
      add(split.name, split.version, Variant::kFallback);
      break;
    }
    const Config::Route& route = found->second;
    if (route.canary && IsInCanary(at, route, client)) {
      add(route.canary->model, route.canary->version,
          is_fallback ? Variant::kFallback : Variant::kCanary);
    }
    add(route.model, route.version, is_fallback ? Variant::kFallback : Variant::kPrimary);
    if (route.fallback.empty()) break;
    at = route.fallback;
  }
  return ways;
}

std::optional<backend::ModelVersion> ShadowOf(const std::string& name, const Config::Route& route,
                                              std::string_view request_id) {
  if (!route.shadow) return std::nullopt;
  if (!IsWithin(route.shadow->percent, PlaceOf(name, "request " + std::string(request_id)))) {
    return std::nullopt;
  }
  return backend::ModelVersion{route.shadow->model, route.shadow->version};
}

}  // namespace inferpool::routes
