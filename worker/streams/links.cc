#include "worker/streams/links.h"

#include <fmt/format.h>

#include <utility>

#include "shared/redis/names.h"
#include "worker/streams/address.h"

namespace inferpool::streams {

absl::StatusOr<Links> ConnectLinks(const Config::Streams& settings) {
  RedisAddress address = AddressOf(settings);
  address.patience = kPatience;
  RedisAddress patient = address;
  patient.patience = kBlock + kPatience;
  ASSIGN_OR_RETURN(Redis work, Redis::Connect(address));
  ASSIGN_OR_RETURN(Redis waits, Redis::Connect(patient));
  ASSIGN_OR_RETURN(Redis hears, Redis::Connect(address));
  ASSIGN_OR_RETURN(const OwnedReply id, waits.Call({"CLIENT", "ID"}));
  ASSIGN_OR_RETURN(const OwnedReply heard, hears.Call({"SUBSCRIBE", kChanges}));
  return Links{.work = std::move(work),
               .waits = std::move(waits),
               .hears = std::move(hears),
               .waits_id = fmt::format("{}", (*id).Number())};
}

}  // namespace inferpool::streams
