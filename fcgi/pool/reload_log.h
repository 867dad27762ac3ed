// How the latest change of a running pool (reload, scale, new program) went, told to all who ask:
// the scoreboard, the log, and systemd.
#pragma once

#include <cstdint>
#include <string_view>

#include "shared/board/scoreboard.h"

namespace inferpool::fcgi {

class ReloadLog {
 public:
  explicit ReloadLog(Pool& pool) : pool_(pool) {}

  // One has begun and has not ended.
  bool running() const { return record_.outcome == ReloadRecord::kRolling; }

  void Begin(std::uint32_t generation, std::string_view what, std::string_view detail);

  // The one that runs has ended: kDone, or kGivenUp with the reason.
  void End(ReloadRecord::Outcome outcome, std::string_view detail = {});

  // One was refused. One that runs keeps its place in the scoreboard: it will say how it ended.
  void Refused(std::uint32_t generation, std::string_view what, std::string_view detail);

 private:
  void Write(std::uint32_t generation, ReloadRecord::Outcome outcome, std::string_view what,
             std::string_view detail);

  Pool& pool_;
  ReloadRecord record_;
};

}  // namespace inferpool::fcgi
