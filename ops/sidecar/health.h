// Whether this inferpool may be sent requests. Pure.
#pragma once

#include <string>
#include <vector>

#include "shared/board/scoreboard.h"

namespace inferpool::ops {

struct Part {
  bool ready;
  std::string detail;
};

struct ModelServer {
  std::string target;
  bool ready;
  std::string detail;  // "ready", if there is no more to say
  // Names of the models that it is known to have ready, sorted.
  std::vector<std::string> models = {};
};

struct Health {
  Part workers;
  Part model_server;  // all of them
  std::vector<ModelServer> model_servers;

  bool Ready() const { return workers.ready && model_server.ready; }
};

// One ready model server is enough, as one worker is.
Health EvaluateHealth(const Totals& totals, std::vector<ModelServer> model_servers);

// {"ready":false,"workers":{"ready":true,"detail":"2 of 2 ready"},"model_server":{...},
//  "model_servers":[{"target":"unix:/a","ready":true,"detail":"ready","models":["faces"]}]}
// Not `with_names`, as for strangers where there are API keys: "models" is their number.
std::string ToJson(const Health& health, bool with_names);

}  // namespace inferpool::ops
