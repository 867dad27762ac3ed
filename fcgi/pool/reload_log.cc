#include "fcgi/pool/reload_log.h"

#include <systemd/sd-daemon.h>

#include <ctime>

#include "shared/base/log.h"

namespace inferpool::fcgi {

void ReloadLog::Write(std::uint32_t generation, ReloadRecord::Outcome outcome,
                      std::string_view what, std::string_view detail) {
  record_ = {.at_s = std::time(nullptr),
             .generation = generation,
             .outcome = outcome,
             .what = FixedText<48>(what),
             .detail = FixedText<400>(detail)};
  pool_.reload.Store(record_);
}

void ReloadLog::Begin(std::uint32_t generation, std::string_view what, std::string_view detail) {
  Write(generation, ReloadRecord::kRolling, what, detail);
  log::Info("reload",
            {{"what", what}, {"outcome", "begun"}, {"generation", generation}, {"detail", detail}});
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%ld", now.tv_sec * 1'000'000L + now.tv_nsec / 1'000);
}

void ReloadLog::End(ReloadRecord::Outcome outcome, std::string_view detail) {
  record_.outcome = outcome;
  if (!detail.empty()) record_.detail = FixedText<400>(detail);
  pool_.reload.Store(record_);
  sd_notify(0, "READY=1");
  const auto write = outcome == ReloadRecord::kDone ? &log::Info : &log::Error;
  write("reload", {{"what", record_.what.view()},
                   {"outcome", kReloadOutcomes[outcome]},
                   {"generation", record_.generation},
                   {"detail", record_.detail.view()}});
}

void ReloadLog::Refused(std::uint32_t generation, std::string_view what, std::string_view detail) {
  log::Error("reload", {{"what", what}, {"outcome", "refused"}, {"detail", detail}});
  if (!running()) Write(generation, ReloadRecord::kRefused, what, detail);
}

}  // namespace inferpool::fcgi
