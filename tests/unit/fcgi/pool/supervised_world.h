// Processes that exist only in a test: they are started and asked to leave as the supervisor says,
// and do what the test says. A process is written as its role's letter and its place: "w0" is the
// worker at place 0, "s" stands for the sidecar, "m" for the model server, "x" for a role of the
// test's own.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fcgi/pool/supervisor.h"

namespace inferpool::test {

enum WorldRole : int { kWorkers, kSidecar, kModels };

inline constexpr fcgi::Supervisor::Options kWorldOptions{
    .start = std::chrono::seconds(10),
    .leave = std::chrono::seconds(30),
    .drain = std::chrono::seconds(30),
    .stuck_drain = std::chrono::seconds(4),
    .abort_to_kill = std::chrono::seconds(2),
    .backoff = std::chrono::milliseconds(100),
    .most_backoff = std::chrono::milliseconds(10'000),
    .concurrent = 1};

inline constexpr int kRestartBurst = 3;
inline constexpr std::chrono::seconds kLastDrain{5};

inline fcgi::Supervisor::Role Workers(int seats, int places) {
  return {.seats = seats,
          .places = places,
          .generation = 1,
          .policy = {.restart_burst = kRestartBurst}};
}
inline fcgi::Supervisor::Role Sidecar() {
  return {.seats = 1,
          .places = 2,
          .generation = 1,
          .policy = {.leave_turn = 1,
                     .drain = kLastDrain,
                     .rolls_last = true,
                     .restart_burst = kRestartBurst}};
}
inline fcgi::Supervisor::Role ModelServer() {
  return {.seats = 1,
          .places = 1,
          .generation = 1,
          .policy = {.successor_first = false,
                     .leave_turn = 1,
                     .drain = kLastDrain,
                     .serves_after = std::chrono::milliseconds(500),
                     .restart_burst = kRestartBurst}};
}

class World {
 public:
  using Supervisor = fcgi::Supervisor;
  using Process = Supervisor::Process;

  struct Fake {
    bool running = false;
    bool ready = false;
    bool asked = false;  // to leave
    bool aborted = false;
    bool killed = false;
    std::uint32_t generation = 0;
    TimePoint started{};
    TimePoint asked_at{};
  };

  explicit World(const std::vector<Supervisor::Role>& roles,
                 const Supervisor::Options& options = kWorldOptions)
      : supervisor_(roles, options) {
    for (const Supervisor::Role& role : roles) {
      fakes_.emplace_back(static_cast<std::size_t>(role.places));
    }
  }

  Supervisor& supervisor() { return supervisor_; }
  TimePoint now() const { return now_; }
  void Pass(Clock::duration time) { now_ += time; }

  Fake& At(Process process) {
    return fakes_.at(static_cast<std::size_t>(process.role))
        .at(static_cast<std::size_t>(process.place));
  }
  Fake& At(std::string_view name) { return At(Parse(name)); }
  std::vector<Fake>& Of(int role) { return fakes_.at(static_cast<std::size_t>(role)); }

  // Does what is due until nothing is, and says what that was: "start w0 g1, terminate w1".
  std::string Step() {
    std::string said;
    for (auto actions = supervisor_.Due(now_); !actions.empty(); actions = supervisor_.Due(now_)) {
      for (const Supervisor::Action& action : actions) {
        said += (said.empty() ? "" : ", ") + Perform(action);
      }
    }
    const auto next = supervisor_.NextDue(now_);
    EXPECT_TRUE(!next || *next > now_);
    return said;
  }

  // Events.
  void Ready(std::string_view name) {
    At(name).ready = true;
    supervisor_.Ready(Parse(name), now_);
  }
  void Replace(std::string_view name) { supervisor_.Replace(Parse(name)); }
  void Stuck(std::string_view name) { supervisor_.Stuck(Parse(name), now_); }
  void NothingElseInWork(std::string_view name) {
    supervisor_.NothingElseInWork(Parse(name), now_);
  }
  void End(std::string_view name) { End(Parse(name)); }
  void Kill(std::string_view name) { End(Parse(name), /*killed=*/true); }
  void End(Process process, bool killed = false) {
    At(process) = {};
    supervisor_.Ended(process, killed, now_);
  }
  void Adopt(std::string_view name, std::uint32_t generation, bool ready, bool leaving) {
    At(name) = {.running = true, .ready = ready, .generation = generation, .started = now_};
    supervisor_.Adopt(Parse(name), generation, ready, leaving, now_);
  }

  // Starts everything and lets it get ready.
  void Begin() {
    Step();
    for (int role = 0; role < static_cast<int>(fakes_.size()); ++role) {
      for (std::size_t place = 0; place < Of(role).size(); ++place) {
        if (Of(role)[place].running) Ready(Name({role, static_cast<int>(place)}));
      }
    }
    EXPECT_EQ(Step(), "");
    EXPECT_TRUE(supervisor_.Settled());
  }

  // How long until something is due by itself; none: never.
  std::optional<std::chrono::milliseconds> UntilDue() const {
    const auto due = supervisor_.NextDue(now_);
    if (!due) return std::nullopt;
    return std::chrono::duration_cast<std::chrono::milliseconds>(*due - now_);
  }
  // Goes to the time when something is due, and not a moment before it; what is done then.
  std::string StepAtNextDue() {
    const auto due = supervisor_.NextDue(now_);
    if (!due) return "never";
    now_ = *due - Clock::duration(1);
    EXPECT_EQ(Step(), "") << "too early";
    now_ = *due;
    return Step();
  }

  // Processes that do what they are asked, until nothing is left to do. What was done. The master
  // looks once a second.
  std::string Settle() {
    std::string all;
    int quiet = 0;
    for (int i = 0; i < 1'000; ++i) {
      const std::string said = Step();
      if (!said.empty()) all += (all.empty() ? "" : ", ") + said;
      quiet = !Obey() && said.empty() && !supervisor_.NextDue(now_) ? quiet + 1 : 0;
      if (quiet > 1) return all;
      Pass(std::chrono::seconds(1));
    }
    ADD_FAILURE() << "it does not come to rest";
    return all;
  }

  // The processes that run, with their generations: "w0g1 w2g2 s0g1".
  std::string Running() {
    std::string text;
    for (int role = 0; role < static_cast<int>(fakes_.size()); ++role) {
      for (std::size_t i = 0; i < Of(role).size(); ++i) {
        if (!Of(role)[i].running) continue;
        text += fmt::format("{}{}g{}", text.empty() ? "" : " ", Name({role, static_cast<int>(i)}),
                            Of(role)[i].generation);
      }
    }
    return text;
  }

  static Process Parse(std::string_view name) {
    return {static_cast<int>(kLetters.find(name[0])), std::stoi(std::string(name.substr(1)))};
  }
  static std::string Name(Process process) {
    return fmt::format("{}{}", kLetters[static_cast<std::size_t>(process.role)], process.place);
  }

 private:
  static constexpr std::string_view kLetters = "wsmx";

  std::string Perform(const Supervisor::Action& action) {
    const std::string name = Name(action.process);
    if (action.act == Supervisor::Act::kGiveUp) {
      return fmt::format("give up {} for g{}", name, action.generation);
    }
    Fake& fake = At(action.process);
    EXPECT_EQ(fake.running, action.act != Supervisor::Act::kStart) << name;
    switch (action.act) {
      case Supervisor::Act::kStart:
        fake = {.running = true, .generation = action.generation, .started = now_};
        return fmt::format("{} {} g{}", action.successor ? "successor" : "start", name,
                           action.generation);
      case Supervisor::Act::kTerminate:
        EXPECT_FALSE(fake.asked) << name << " was asked already";
        fake.asked = true;
        fake.asked_at = now_;
        return "terminate " + name;
      case Supervisor::Act::kAbort:
        EXPECT_FALSE(fake.aborted || fake.killed) << name << " was aborted or killed already";
        fake.aborted = true;
        return "abort " + name;
      default:
        EXPECT_FALSE(fake.killed) << name << " was killed already";
        fake.killed = true;
        return "kill " + name;
    }
  }

  // Everybody gets ready or leaves as asked; false when nobody had to.
  bool Obey() {
    bool any = false;
    for (int role = 0; role < static_cast<int>(fakes_.size()); ++role) {
      for (std::size_t i = 0; i < Of(role).size(); ++i) {
        const Fake& fake = Of(role)[i];
        const Process process{role, static_cast<int>(i)};
        if (!fake.running || (fake.ready && !fake.asked && !fake.killed)) continue;
        any = true;
        if (fake.asked || fake.killed) {
          End(process);
        } else {
          Ready(Name(process));
        }
      }
    }
    return any;
  }

  Supervisor supervisor_;
  std::vector<std::vector<Fake>> fakes_;
  TimePoint now_{std::chrono::hours(1)};
};

}  // namespace inferpool::test
