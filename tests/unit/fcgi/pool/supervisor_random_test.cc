// Any order of events, against what the supervisor's header promises. The seeds are fixed: a
// failure comes again.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "fcgi/pool/supervisor.h"
#include "tests/unit/fcgi/pool/supervised_world.h"

namespace inferpool::fcgi {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::kModels;
using test::kSidecar;
using test::kWorkers;
using test::ModelServer;
using test::Sidecar;
using test::Workers;
using test::World;

class RandomPool {
 public:
  explicit RandomPool(unsigned seed)
      : random_(seed),
        places_(3 + Below(8)),
        seats_(Seats()),
        options_(Options()),
        world_({Workers(seats_, places_), Sidecar(), ModelServer()}, options_) {
    stuck_.resize(static_cast<std::size_t>(places_));
    planned_leaver_.resize(static_cast<std::size_t>(places_));
    asked_before_.resize(static_cast<std::size_t>(places_));
  }

  void Run(int events) {
    Act(/*in_turn=*/true);
    for (int i = 0; i < events && !testing::Test::HasFailure(); ++i) Event();
    Cooperate();
    if (Below(2) == 0) StopGently();
    StopNow();
  }

  // How often it could be seen that the workers that serve did not fall below their number.
  int kept() const { return kept_; }

 private:
  int Below(int end) { return std::uniform_int_distribution<int>(0, end - 1)(random_); }

  // As in a pool, some places are left for those on their way in and out.
  int Seats() { return 1 + Below(places_ - 2); }

  Supervisor::Options Options() {
    Supervisor::Options options = test::kWorldOptions;
    options.concurrent = 1 + Below(3);
    return options;
  }

  World::Fake& Worker(int place) { return world_.At(Supervisor::Process{kWorkers, place}); }
  Supervisor& supervisor() { return world_.supervisor(); }

  // The workers that take requests: they are ready and were not told to go.
  int Serving() {
    return static_cast<int>(std::ranges::count_if(world_.Of(kWorkers), [](const World::Fake& w) {
      return w.running && w.ready && !w.asked && !w.killed;
    }));
  }

  void End(Supervisor::Process process, bool killed) {
    if (process.role == kWorkers) {
      const auto at = static_cast<std::size_t>(process.place);
      stuck_[at] = planned_leaver_[at] = asked_before_[at] = false;
    }
    world_.End(process, killed);
  }

  void Act(bool in_turn) {
    const std::string said = world_.Step();
    history_ = history_.substr(history_.size() > 1'500 ? history_.size() - 1'500 : 0) + said + "\n";
    int leavers = 0;
    for (int place = 0; place < places_; ++place) {
      const auto at = static_cast<std::size_t>(place);
      const World::Fake& worker = Worker(place);
      if (worker.asked && !asked_before_[at]) planned_leaver_[at] = in_turn && worker.ready;
      asked_before_[at] = worker.asked;
      if (worker.killed && worker.ready) {
        EXPECT_TRUE(worker.asked) << "killed in the midst of its work\n" << history_;
        EXPECT_TRUE(worker.aborted || world_.now() - worker.asked_at >= options_.drain) << history_;
        EXPECT_TRUE(!worker.aborted || stuck_[at]) << history_;
      }
      if (planned_leaver_[at] && !stuck_[at]) ++leavers;
    }
    EXPECT_LE(leavers, options_.concurrent) << history_;
    if (Serving() >= seats_) complete_ = true;
    if (complete_) {
      ++kept_;
      EXPECT_GE(Serving(), seats_) << history_;
    }
    EXPECT_FALSE(supervisor().Done()) << history_;
  }

  void Event() {
    const Supervisor::Process process = AnyProcess();
    const std::string name = World::Name(process);
    World::Fake& fake = world_.At(process);
    bool in_turn = true;
    const int event = Below(14);
    history_ += fmt::format("event {} {}: ", event, name);
    switch (event) {
      case 0:
      case 1:
        world_.Pass(milliseconds(Below(20'000)));
        break;
      case 2:
        if (const auto due = supervisor().NextDue(world_.now())) {
          world_.Pass(*due - world_.now());
        }
        break;
      case 3:
        if (fake.running) {
          if (process.role == kWorkers && !fake.asked && !fake.killed) complete_ = false;
          End(process, /*killed=*/Below(2) == 0);
        }
        break;
      case 4:
      case 5:
      case 6:
        if (fake.running && !fake.ready && !fake.killed && !fake.asked) world_.Ready(name);
        break;
      case 7:
      case 8:
        if (fake.running && (fake.asked || fake.killed)) End(process, fake.killed);
        break;
      case 9:
        world_.Replace(name);
        break;
      case 10:
        if (process.role == kWorkers && fake.running && fake.ready) {
          world_.Stuck(name);
          stuck_[static_cast<std::size_t>(process.place)] = true;
          if (Below(2) == 0) world_.NothingElseInWork(name);
        }
        break;
      case 11:
        seats_ = Seats();
        supervisor().SetSeats(kWorkers, seats_);
        complete_ = false;
        in_turn = false;
        break;
      case 12:
        if (Below(3) == 0) supervisor().Roll({kWorkers}, ++generation_);
        break;
      default:
        if (Below(3) == 0) supervisor().Roll({kModels, kSidecar, kWorkers}, ++generation_);
        break;
    }
    Act(in_turn);
  }

  Supervisor::Process AnyProcess() {
    switch (Below(6)) {
      case 0:
        return {kSidecar, Below(2)};
      case 1:
        return {kModels, 0};
      default:
        return {kWorkers, Below(places_)};
    }
  }

  // Processes that do what they are asked bring every pool to rest, whole.
  void Cooperate() {
    history_ += "cooperate: " + world_.Settle();
    EXPECT_TRUE(supervisor().Settled()) << world_.Running() << "\n" << history_;
    EXPECT_EQ(Serving(), seats_) << world_.Running() << history_;
    EXPECT_EQ(supervisor().BackingOff(kWorkers, world_.now()), 0);
    EXPECT_EQ(supervisor().NextDue(world_.now()), std::nullopt);
  }

  void StopGently() {
    supervisor().Stop(world_.now());
    world_.Step();
    for (int i = 0; i < 5; ++i) {
      const Supervisor::Process process = AnyProcess();
      if (world_.At(process).running) world_.End(process, Below(2) == 0);
      world_.Pass(milliseconds(Below(40'000)));
      const std::string said = world_.Step();
      EXPECT_EQ(said.find("start"), std::string::npos) << said;
      EXPECT_EQ(said.find("successor"), std::string::npos) << said;
    }
  }

  void StopNow() {
    supervisor().StopNow(world_.now());
    world_.Step();
    for (int role = 0; role < 3; ++role) {
      for (int place = 0; place < static_cast<int>(world_.Of(role).size()); ++place) {
        const Supervisor::Process process{role, place};
        if (!world_.At(process).running) continue;
        EXPECT_TRUE(world_.At(process).killed) << World::Name(process);
        EXPECT_FALSE(supervisor().Done());
        world_.End(process);
        EXPECT_EQ(world_.Step(), "");
      }
    }
    EXPECT_TRUE(supervisor().Done());
    EXPECT_EQ(supervisor().NextDue(world_.now()), std::nullopt);
  }

  std::mt19937 random_;
  int places_;
  int seats_;
  Supervisor::Options options_;
  World world_;
  std::uint32_t generation_ = 1;
  bool complete_ = false;  // all seats were filled, and since then nobody crashed
  int kept_ = 0;
  std::vector<bool> stuck_;
  std::vector<bool> planned_leaver_;
  std::vector<bool> asked_before_;
  std::string history_;
};

TEST(SupervisorRandomTest, HoldsItsPromisesInAnyOrderOfEvents) {
  int kept = 0;
  for (unsigned seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    RandomPool pool(seed);
    pool.Run(300);
    if (testing::Test::HasFailure()) return;
    kept += pool.kept();
  }
  EXPECT_GT(kept, 10'000) << "of 120'000 moments";
}

}  // namespace
}  // namespace inferpool::fcgi
