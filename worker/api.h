// The HTTP surface: from a FastCGI request to its answer.
#pragma once

#include <optional>

#include "worker/http/exchange.h"

namespace inferpool::api {

// Thread safe. What the services refer to must outlive it.
class Api {
 public:
  explicit Api(const Services& services) : services_(services) {}

  // Never throws and never fails: what goes wrong is an answer. Counts into the lane.
  fcgi::Response Handle(const fcgi::Request& request, Lane& lane) const;

 private:
  fcgi::Response Answer(Exchange& exchange) const;
  std::optional<Problem> Admit(Exchange& exchange) const;
  fcgi::Response Route(Exchange& exchange) const;
  fcgi::Response ListModels(Exchange& exchange) const;
  fcgi::Response DescribeModel(Exchange& exchange, const std::string& model) const;
  void Log(const Exchange& exchange, const fcgi::Response& response) const;

  const Services services_;
};

}  // namespace inferpool::api
