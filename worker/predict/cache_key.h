// Keys of the cache: two requests with the same key may have the same answer.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "shared/access/sha256.h"
#include "shared/base/mutex.h"
#include "shared/config/config.h"
#include "worker/backend/catalog.h"
#include "worker/http/parameters.h"
#include "worker/predict/response_cache.h"

namespace inferpool::predict {

// Thread safe. `config` must outlive it.
class CacheKeys {
 public:
  explicit CacheKeys(const Config& config) : config_(config) {}

  // Two keys are equal when the picture's bytes are, the model's description with its version, the
  // parameters (the configuration's where the request has none), and `output`, a media type.
  //
  // It is SHA-256, and not the quarantine's digest: answers outlive the pool and its secret, and
  // somebody who could make two pictures collide would have their answer given to others.
  CacheKey For(std::string_view picture, const std::shared_ptr<const backend::Model>& model,
               const http::PredictParameters& parameters, std::string_view output);

 private:
  struct Described {
    std::shared_ptr<const backend::Model> model;
    Sha256 digest;
  };

  Sha256 DigestOf(const std::shared_ptr<const backend::Model>& model);

  const Config& config_;
  Mutex mutex_;
  std::map<backend::ModelVersion, Described> described_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inferpool::predict
