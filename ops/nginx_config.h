// nginx's configuration, from ours.
#pragma once

#include <string>
#include <string_view>

#include "shared/config.h"

namespace inferpool::ops {

// nginx/inferpool.conf.in as it was when the program was built.
extern const std::string_view kNginxTemplate;

// The template with every placeholder filled in. `user`: whom nginx's workers run as, which only
// root can choose; empty: whoever starts nginx.
std::string NginxConfig(const Config& config, std::string_view user);

}  // namespace inferpool::ops
