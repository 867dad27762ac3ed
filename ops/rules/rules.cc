#include "ops/rules/rules.h"

#include <curl/curl.h>

#include <cstdlib>

#include "ops/rules/reader.h"
#include "shared/base/log.h"
#include "shared/base/termination.h"
#include "worker/streams/address.h"

namespace inferpool::rules {

int RunRules(const RulesStart& start, const std::function<void()>& ready) {
  const Config::Streams& settings = start.config.streams;
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    log::Error("rules cannot start", {{"reason", "libcurl cannot be used"}});
    return EXIT_FAILURE;
  }
  {
    const Reader reader({.address = streams::AddressOf(settings),
                         .shards = settings.shards,
                         .rules = settings.rules,
                         .counts = start.scoreboard.pool().rules,
                         .say_why_not = [&start](std::string_view why) {
                           start.row.not_ready.Store(NotReadyText(why));
                         }});
    log::Info("rules ready", {{"rules", settings.rules.size()}});
    ready();
    AwaitTermination();
  }
  curl_global_cleanup();
  return EXIT_SUCCESS;
}

}  // namespace inferpool::rules
