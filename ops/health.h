// Whether this inferpool may be sent requests. Pure.
#pragma once

#include <string>

#include "shared/scoreboard.h"
#include "shared/status.h"

namespace inferpool::ops {

struct Part {
  bool ready;
  std::string detail;
};

struct Health {
  Part workers;
  Part model_server;

  bool Ready() const { return workers.ready && model_server.ready; }
};

// `model_server`: the latest answer to the question whether it is ready.
Health Judge(const Totals& totals, const absl::Status& model_server);

// {"ready":false,"workers":{"ready":true,"detail":"2 of 2 ready"},"model_server":{...}}
std::string ToJson(const Health& health);

}  // namespace inferpool::ops
