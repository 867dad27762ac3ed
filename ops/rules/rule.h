// Which rules an answer meets, and the event that a receiver is told of. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ops/rules/answer.h"
#include "shared/config/config.h"

namespace inferpool::rules {

// Whether some rule is about the camera at all.
bool IsWatched(const Config::Rules& rules, std::string_view camera);

// Whether the finding meets the rule: its class is one of the rule's, it is sure enough, and its
// place, the middle of the lower edge of its box, is in the zone. A place at the edge of the
// picture is in a zone that reaches the edge. What has no box is in no zone.
bool Meets(const Finding& finding, const Config::Rule& rule);

struct Match {
  std::string rule;
  std::vector<Finding> findings;  // that meet it, at least one
};

// The rules that the answer meets, whatever they hold off.
std::vector<Match> Judge(const Config::Rules& rules, const Answer& answer);

// The same for each try, so that a receiver knows an event that it is told of again.
std::string EventId(std::string_view rule, int shard, const Answer& answer);

// The event as JSON: with at most 100 of the findings, the surest of them.
std::string EventJson(std::string_view id, const Match& match, const Answer& answer);

}  // namespace inferpool::rules
