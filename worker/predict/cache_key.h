// What makes two requests the same for the cache.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "shared/access/sha256.h"
#include "shared/config/config.h"
#include "worker/backend/catalog.h"
#include "worker/http/parameters.h"
#include "worker/predict/response_cache.h"

namespace inferpool::api {

// Thread safe. `config` must outlive it.
class CacheKeys {
 public:
  explicit CacheKeys(const Config& config) : config_(config) {}

  // The same bytes, for the same model as it is described, its version included, with the same
  // parameters, the configuration's where the request names none, and the same `output`, such as
  // "json". SHA-256, and not the quarantine's digest: kept answers outlive the pool and its
  // key, and somebody who could make two pictures collide would have their answer given to others.
  CacheKey For(std::string_view picture, const std::shared_ptr<const backend::Model>& model,
               const PredictParameters& parameters, std::string_view output);

 private:
  struct Described {
    std::shared_ptr<const backend::Model> model;
    Sha256 digest;
  };

  Sha256 DigestOf(const std::shared_ptr<const backend::Model>& model);

  const Config& config_;
  std::mutex mutex_;
  std::map<std::string, Described> described_;  // guarded by mutex_; by name
};

}  // namespace inferpool::api
