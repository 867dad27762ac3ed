// The paths of the KServe v2 protocol: /v2 and everything below it.
#pragma once

#include <string>
#include <string_view>

namespace inferpool::kserve_http {

struct Route {
  enum class To {
    kNotFound,
    kForbidden,  // loading models, shared memory, tracing, logging: for administrators
    kServerMetadata,
    kLive,
    kReady,
    kIndex,
    kStatistics,  // of all models, unless one is named
    kModelMetadata,
    kModelReady,
    kModelConfig,
    kInfer,
  };

  To to = To::kNotFound;
  std::string model = {};
  std::string version = {};  // empty when the server may choose
};

// Whether the protocol handles this path.
bool IsProtocolPath(std::string_view path);

// Parses a path for which IsProtocolPath is true. The model's name is percent-decoded. kNotFound
// for a path that the protocol does not have, and for a name that no model can have.
Route ParseRoute(std::string_view path);

}  // namespace inferpool::kserve_http
