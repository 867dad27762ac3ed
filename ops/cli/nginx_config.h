// nginx's configuration, from ours.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "shared/config/config.h"

namespace inferpool::ops {

// nginx/inferpool.conf.in as it was when the program was built.
extern const std::string_view kNginxTemplate;

// What nginx's configuration depends on besides ours.
struct NginxHost {
  // The `user` line of nginx's workers, which only root can choose; empty: they run as whoever
  // starts nginx.
  std::string user;
  // Whether a socket can be bound to [::]. nginx does not start when it is told to and cannot.
  bool has_ipv6 = false;
  // How many processors nginx may use: as many workers of its own it starts.
  int processors = 1;
  // Most file descriptors that a process of ours may have.
  std::uint64_t descriptors = 20'000;
  // For what does not fit into nginx's buffers; one that is no path from the root is in the state
  // folder.
  std::string temporary = "tmp";
  // Where `pages` and `swagger-ui` lie unless the configuration says otherwise.
  std::string data = "/usr/share/inferpool";
};

// The host that we run on, with the configuration's `user`.
NginxHost ThisHost(const Config& config);

// The template with every placeholder filled in.
std::string NginxConfig(const Config& config, const NginxHost& host);

}  // namespace inferpool::ops
