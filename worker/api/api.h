// The HTTP surface: from a FastCGI request to its answer.
#pragma once

#include "fcgi/request.h"
#include "shared/config.h"
#include "shared/scoreboard.h"
#include "worker/backend/catalog.h"
#include "worker/backend/client.h"
#include "worker/backend/inference.h"

namespace inferpool::api {

// Thread safe. Everything passed by reference must outlive it.
class Api {
 public:
  Api(const Config& config, const backend::Client& client, backend::Inference& inference,
      backend::Catalog& catalog, const Quarantine& quarantine);

  // Never throws and never fails: what goes wrong is an answer. Counts into the lane.
  fcgi::Response Handle(const fcgi::Request& request, Lane& lane) const;

 private:
  struct Exchange;  // one request on its way to an answer

  fcgi::Response Route(Exchange& exchange) const;
  fcgi::Response Predict(Exchange& exchange, const std::string& model) const;
  fcgi::Response ListModels(Exchange& exchange) const;
  fcgi::Response DescribeModel(Exchange& exchange, const std::string& model) const;
  void Log(const Exchange& exchange, const fcgi::Response& response) const;

  const Config& config_;
  const backend::Client& client_;
  backend::Inference& inference_;
  backend::Catalog& catalog_;
  const Quarantine& quarantine_;
};

}  // namespace inferpool::api
