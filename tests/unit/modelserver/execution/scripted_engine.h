// A scheduler whose instances do what the test says, and callers on threads of their own.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "modelserver/execution/scheduler.h"

namespace inferpool::modelserver {

inline constexpr std::chrono::seconds kPatience{60};

inline void Eventually(const std::function<bool()>& condition, const char* what) {
  const TimePoint end = Clock::now() + kPatience;
  while (!condition()) {
    ASSERT_LT(Clock::now(), end) << "waited in vain until " << what;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// What the instances of one model have run, and the gate before which each run waits.
class Script {
 public:
  struct Run {
    const Engine* engine;
    std::thread::id thread;
    std::vector<std::int32_t> values;  // of the batch's requests, in its order
    std::stop_token abandoned = {};
  };

  ~Script() { Open(); }

  std::atomic<bool> instant = false;  // what the engines say of themselves

  // From now on runs wait in the engine, until one of the next two.
  void Close() {
    Set([this] { open_ = false; });
  }
  void Open() {
    Set([this] { open_ = true; });
  }
  // The run with these requests may end.
  void LetGo(std::vector<std::int32_t> values) {
    Set([&] { freed_.push_back(std::move(values)); });
  }

  std::vector<Run> runs() const {
    const std::lock_guard lock(mutex_);
    return runs_;
  }
  std::vector<std::vector<std::int32_t>> values() const {
    std::vector<std::vector<std::int32_t>> all;
    for (Run& run : runs()) all.push_back(std::move(run.values));
    return all;
  }
  void WaitRuns(std::size_t count) const {
    Eventually([&] { return runs().size() >= count; }, "the engines run");
  }

  // Of the engines.
  void Enter(Run run) {
    std::unique_lock lock(mutex_);
    runs_.push_back(run);
    changed_.wait(lock, [&] { return open_ || std::erase(freed_, run.values) > 0; });
  }

 private:
  template <typename Change>
  void Set(Change change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;                              // guarded by mutex_
  std::vector<std::vector<std::int32_t>> freed_;  // guarded by mutex_
  std::vector<Run> runs_;                         // guarded by mutex_
};

// Answers with twice the value; a negative one is at fault.
class ScriptedEngine : public Engine {
 public:
  explicit ScriptedEngine(Script& script) : script_(script) {}

  void Run(std::span<Execution> batch) override {
    ++callers_;
    Script::Run run{this, std::this_thread::get_id(), {}, batch.front().abandoned};
    for (const Execution& one : batch) run.values.push_back(Value(one));
    script_.Enter(run);
    for (Execution& one : batch) {
      const std::int32_t answer = 2 * Value(one);
      const std::span<const std::byte> bytes = std::as_bytes(std::span(&answer, 1));
      one.status = answer < 0 ? absl::InvalidArgumentError("negative")
                              : one.outputs->Put(0, std::vector<std::int64_t>{1, 1}, bytes);
    }
    EXPECT_EQ(--callers_, 0);
  }

  bool instant() const override { return script_.instant; }

 private:
  static std::int32_t Value(const Execution& one) {
    return Elements<std::int32_t>(one.inputs[0])->front();
  }

  Script& script_;
  int callers_ = 0;  // not atomic: ThreadSanitizer sees a second caller
};

// One input of some int32 and one output; the batch is the first dimension where there is one.
inline inference::ModelConfig ScriptedConfig(int max_batch_size, std::int64_t width = 1) {
  inference::ModelConfig config;
  config.set_name("scripted");
  config.set_max_batch_size(max_batch_size);
  inference::ModelInput& input = *config.add_input();
  input.set_name("x");
  input.set_data_type(inference::TYPE_INT32);
  input.add_dims(width);
  inference::ModelOutput& output = *config.add_output();
  output.set_name("y");
  output.set_data_type(inference::TYPE_INT32);
  output.add_dims(1);
  return config;
}

inline inference::ModelConfig BatchingConfig(int max_batch_size) {
  inference::ModelConfig config = ScriptedConfig(max_batch_size);
  config.mutable_dynamic_batching();
  return config;
}

struct Ask {
  std::int64_t rows = 1;
  std::int64_t width = 1;
  Deadline deadline = Deadline::After(kPatience);
  std::stop_token gone = {};
  std::function<bool()> can_block = {};
  std::uint64_t priority = 0;
  std::chrono::microseconds timeout{0};
  std::size_t bytes = 0;
};

struct Answer {
  absl::Status status;
  std::int32_t value = 0;
  RunTimes times;
  std::thread::id thread;
};

class Scripted {
 public:
  explicit Scripted(
      const inference::ModelConfig& config, int instances = 1,
      std::shared_ptr<AdmissionLimiter> limiter = std::make_shared<AdmissionLimiter>())
      : config_(config), scheduler_(config, Engines(instances), statistics, std::move(limiter)) {}

  Answer Call(std::int32_t value, const Ask& ask = {}) {
    const std::vector<std::int32_t> data(static_cast<std::size_t>(ask.rows * ask.width), value);
    const std::vector<std::int64_t> shape = {ask.rows, ask.width};
    const TensorView input{
        .name = "x", .datatype = inference::TYPE_INT32, .shape = shape, .data = Bytes(data)};
    Outputs outputs(config_);
    outputs.Want(0);
    Answer answer;
    answer.thread = std::this_thread::get_id();
    answer.status = scheduler_.Run({&input, 1}, outputs,
                                   {.deadline = ask.deadline,
                                    .gone = ask.gone,
                                    .can_block = ask.can_block,
                                    .priority = ask.priority,
                                    .timeout = ask.timeout,
                                    .bytes = ask.bytes},
                                   answer.times);
    if (answer.status.ok()) {
      answer.value = Elements<std::int32_t>(outputs.View(outputs.wanted().front())).value().front();
    }
    return answer;
  }

  // The call on a thread of its own.
  std::future<Answer> Start(std::int32_t value, Ask ask = {}) {
    return std::async(std::launch::async,
                      [this, value, ask = std::move(ask)] { return Call(value, ask); });
  }
  // And it waits in the queue, behind those that do already.
  std::future<Answer> Queue(std::int32_t value, Ask ask = {}) {
    const std::size_t before = scheduler_.pending();
    std::future<Answer> call = Start(value, std::move(ask));
    Eventually([&] { return scheduler_.pending() == before + 1; }, "the call waits");
    return call;
  }
  // And it runs, in an engine that waits.
  std::future<Answer> Occupy(std::int32_t value, Ask ask = {}) {
    script.Close();
    const std::size_t before = script.runs().size();
    std::future<Answer> call = Start(value, std::move(ask));
    script.WaitRuns(before + 1);
    return call;
  }

  std::size_t pending() const { return scheduler_.pending(); }

  Script script;
  ModelStatistics statistics;

 private:
  static std::span<const std::byte> Bytes(const std::vector<std::int32_t>& data) {
    return std::as_bytes(std::span(data));
  }
  std::vector<std::unique_ptr<Engine>> Engines(int count) {
    std::vector<std::unique_ptr<Engine>> engines;
    for (int i = 0; i < count; ++i) engines.push_back(std::make_unique<ScriptedEngine>(script));
    return engines;
  }

  const inference::ModelConfig config_;
  Scheduler scheduler_;
};

}  // namespace inferpool::modelserver
