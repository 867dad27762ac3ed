#include "worker/backend/inference_client.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "shared/base/log.h"
#include "worker/backend/infer_request.h"
#include "worker/backend/shm/sweep.h"
#include "worker/backend/tensor_message.h"

namespace inferpool::backend {
namespace {

constexpr std::chrono::seconds kSweepEvery{5};
constexpr std::chrono::seconds kSweepTime{5};
constexpr std::chrono::seconds kLastSweepTime{2};
constexpr std::size_t kMaxModels = 1000;

std::vector<SharedRegions::Target> Targets(const Client& client) {
  std::vector<SharedRegions::Target> targets;
  for (std::size_t i = 0; i < client.targets(); ++i) {
    targets.push_back({client.State(i).name, &client.calls(i)});
  }
  return targets;
}

std::vector<std::shared_ptr<grpc::Channel>> Channels(const Client& client) {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (std::size_t i = 0; i < client.targets(); ++i) {
    channels.push_back(client.calls(i).channel());
  }
  return channels;
}

}  // namespace

// The batches of one model. Kept while the model stays as it is described.
struct InferenceClient::ModelBatches {
  ModelBatches(std::shared_ptr<const Model> wanted, BatchLimits limits, TensorMemory& memory)
      : model(std::move(wanted)),
        by_priority{{{limits, memory}, {limits, memory}, {limits, memory}}} {}

  // Rows of one priority are joined, and do not wait for others.
  RequestBatcher& Of(Priority priority) {
    const bool as_default = PriorityLevel(*model, priority) == 0;
    return by_priority[static_cast<std::size_t>(as_default ? Priority::kNormal : priority)];
  }

  const std::shared_ptr<const Model> model;

 private:
  std::array<RequestBatcher, kPriorityNames.size()> by_priority;
};

InferenceClient::InferenceClient(const Client& client, InferenceOptions options)
    : client_(client),
      options_(std::move(options)),
      memory_(options_.transport, options_.domain, options_.arena_bytes, options_.message_bytes),
      regions_(options_.transport, Targets(client),
               [this] {
                 {
                   const MutexLock lock(sweep_mutex_);
                   refused_ = true;
                 }
                 sweep_wake_.notify_all();
               }),
      reconnections_(Channels(client)),
      sweeper_([this](const std::stop_token& stop) { SweepNowAndThen(stop); }) {}

InferenceClient::~InferenceClient() {
  sweeper_.request_stop();
  sweeper_.join();
  memory_.Close();
  Sweep(kLastSweepTime);
}

// ---- A row, and its batch

absl::StatusOr<InferenceClient::Row> InferenceClient::Begin(
    const std::shared_ptr<const Model>& model, std::span<const std::int64_t> row_shape,
    std::size_t row_bytes, const CallLimits& limits) {
  std::shared_ptr<ModelBatches> batches = BatchesOf(model);
  absl::StatusOr<RequestBatcher::Row> row =
      batches->Of(limits.priority).Join(row_shape, row_bytes, limits);
  RETURN_IF_ERROR(row.status());
  return Row(*this, std::move(batches), *std::move(row));
}

std::shared_ptr<InferenceClient::ModelBatches> InferenceClient::BatchesOf(
    const std::shared_ptr<const Model>& model) {
  const MutexLock lock(mutex_);
  if (batches_.size() > kMaxModels) batches_.clear();
  // There may be as many models of one name as there are servers; the latest first.
  auto& of_the_name = batches_[model->asked()];
  auto found = std::ranges::find_if(of_the_name, [&](const auto& batches) {
    return batches->model == model || (batches->model->description == model->description &&
                                       batches->model->servers == model->servers);
  });
  if (found == of_the_name.end()) {
    BatchLimits limits = options_.batch;
    // A file's bytes are no row that others could follow.
    const bool joins = model->plan->input_kind == vision::InputKind::kPixels;
    const auto most = static_cast<int>(
        std::clamp<std::int64_t>(model->description.max_batch_size, 1, limits.max_rows));
    limits.max_rows = joins ? most : 1;
    if (of_the_name.size() >= client_.targets()) of_the_name.pop_back();
    found = of_the_name.insert(of_the_name.begin(),
                               std::make_shared<ModelBatches>(model, limits, memory_));
  }
  return *found;
}

InferenceClient::Row::Row(InferenceClient& client, std::shared_ptr<ModelBatches> batches,
                          RequestBatcher::Row row)
    : client_(&client), batches_(std::move(batches)), row_(std::move(row)) {}

absl::StatusOr<RowAnswer> InferenceClient::Row::Infer() {
  RequestBatcher::Row row = std::move(row_);  // its memory is let go at the end
  const Model& model = *batches_->model;
  if (row.leads()) {
    row.Finish(client_->Call(model, row.Close()));
  } else {
    RETURN_IF_ERROR(row.AwaitFinish());
  }
  if (auto outcome = row.Outcome()) return *std::move(outcome);
  RequestBatcher::BatchAnswer answer = client_->Call(model, row.Alone());
  RETURN_IF_ERROR(answer.status());
  return RowAnswer{*std::move(answer), 1, 0};
}

// ---- Rows of one request

absl::StatusOr<InferenceClient::Rows> InferenceClient::BeginRows(
    const std::shared_ptr<const Model>& model, std::span<const std::int64_t> row_shape,
    std::size_t row_bytes, int rows, const CallLimits& limits) {
  const auto most = static_cast<int>(
      std::clamp<std::int64_t>(model->description.max_batch_size, 1, std::max(rows, 1)));
  Lease memory = memory_.AllocateRows(row_bytes, most);
  if (!memory) return absl::ResourceExhaustedError("there is no memory for a tensor");
  const auto count = static_cast<int>(memory.bytes().size() / row_bytes);
  return Rows(*this, model, row_shape, row_bytes, count, std::move(memory), limits);
}

InferenceClient::Rows::Rows(InferenceClient& client, std::shared_ptr<const Model> model,
                            std::span<const std::int64_t> row_shape, std::size_t row_bytes,
                            int count, Lease memory, CallLimits limits)
    : client_(&client),
      model_(std::move(model)),
      row_shape_(row_shape.begin(), row_shape.end()),
      row_bytes_(row_bytes),
      count_(count),
      memory_(std::make_shared<Lease>(std::move(memory))),
      limits_(std::move(limits)) {}

std::span<std::byte> InferenceClient::Rows::bytes(int row) const {
  return memory_->bytes().subspan(static_cast<std::size_t>(row) * row_bytes_, row_bytes_);
}

absl::StatusOr<std::vector<RowAnswer>> InferenceClient::Rows::Infer() {
  const BatchInput input{.row_shape = row_shape_,
                         .rows = count_,
                         .memory = std::move(memory_),  // is let go at the end
                         .offset = 0,
                         .bytes = row_bytes_ * static_cast<std::size_t>(count_)};
  const RequestBatcher::BatchAnswer answer = client_->Call(*model_, {input, limits_});
  RETURN_IF_ERROR(answer.status());
  std::vector<RowAnswer> answers;
  for (int row = 0; row < count_; ++row) answers.push_back({*answer, count_, row});
  return answers;
}

// ---- The call

RequestBatcher::BatchAnswer InferenceClient::Call(const Model& model, const BatchCall& call) {
  const CallLimits& limits = call.limits;
  if (limits.departed.stop_requested()) {
    return absl::CancelledError("nobody waits for the answer any more");
  }
  // Over all that the call begins again.
  std::size_t forgotten = 0;  // times that a server did not know our memory
  std::size_t refusals = 0;   // times that a server said no to it, where it is a must
  bool all_forget = false;
  const std::vector<std::size_t> servers = ServersOf(model);
  Attempts attempts = client_.NewAttempts(limits.deadline);
  while (std::optional<Attempt> attempt = attempts.Next(Candidates(servers, call), Clock::now())) {
    const std::size_t target = attempt->target;
    const auto way = WayTo(target, call, /*by_message=*/all_forget || limits.alone);
    if (!way.ok()) {
      attempts.Record(way.status(), Breaker::Outcome::kNothing);
      if (++refusals < client_.targets()) attempts.StartAgain();
      continue;
    }
    absl::StatusOr<InferRequest> request =
        MakeInferRequest(model, call.input, limits.priority, *way);
    RETURN_IF_ERROR(request.status());

    Answer answer = client_.Send(*std::move(attempt), "ModelInfer", request->message, limits);
    attempts.Record(answer.message.status(), answer.outcome);

    const bool shared = *way == SharedRegions::Way::kShared;
    if (shared && !answer.server_done) {
      // The server may read and write there at any time.
      call.input.memory->Retire();
      if (request->output_memory != nullptr) request->output_memory->Retire();
    }
    if (answer.message.ok()) {
      absl::StatusOr<InferAnswer> decoded = Decode(*answer.message, std::move(request->places));
      RETURN_IF_ERROR(decoded.status());
      return std::make_shared<const InferAnswer>(*std::move(decoded));
    }
    if (shared && IsRegionUnknown(answer.message.status())) {
      // A server that was restarted has forgotten our memory; so may have the one asked next. When
      // all have, and one again, there are several servers behind one name, or they come and go.
      regions_.Forget(target, call.input.memory->arena()->name());
      all_forget = ++forgotten > client_.targets();
      if (all_forget) regions_.Rest(target, Clock::now());
      if (!all_forget || options_.transport == Transport::kAuto) attempts.StartAgain();
    }
  }
  return attempts.status();
}

std::vector<std::size_t> InferenceClient::ServersOf(const Model& model) const {
  if (client_.targets() == 1) return {};
  std::vector<std::size_t> servers = model.servers;
  std::erase_if(servers, [&](std::size_t server) {
    return client_.directory().Look(server, model.asked()) == ModelDirectory::Has::kNo;
  });
  return servers.empty() ? model.servers : servers;
}

std::vector<Candidate> InferenceClient::Candidates(const std::vector<std::size_t>& servers,
                                                   const BatchCall& call) {
  std::vector<Candidate> candidates = client_.Candidates(servers);
  const std::shared_ptr<Arena>& arena = call.input.memory->arena();
  if (options_.transport == Transport::kShm && arena != nullptr && candidates.size() > 1) {
    for (const std::size_t i : regions_.NotNow(arena->name(), Clock::now())) {
      candidates[i].may_connect = false;
    }
  }
  return candidates;
}

absl::StatusOr<SharedRegions::Way> InferenceClient::WayTo(std::size_t target, const BatchCall& call,
                                                          bool by_message) {
  const std::shared_ptr<Arena>& arena = call.input.memory->arena();
  if (arena == nullptr || by_message) return SharedRegions::Way::kInline;
  return regions_.Prepare(target, arena, call.limits.deadline, Clock::now());
}

// ---- What dead workers left

void InferenceClient::Sweep(Clock::duration time) {
  const Deadline deadline = Deadline::After(time);
  const Swept swept = SweepSegments(
      options_.domain, [&](const std::string& name) { return regions_.Unregister(name, deadline); },
      deadline);
  if (swept.removed > 0) {
    log::Debug("shared memory swept", {{"removed", swept.removed}, {"left", swept.left}});
  }
}

void InferenceClient::SweepNowAndThen(const std::stop_token& stop) {
  if (options_.transport == Transport::kInline) return;
  while (!stop.stop_requested()) {
    Sweep(kSweepTime);
    AwaitSweep(stop);
  }
}

void InferenceClient::AwaitSweep(const std::stop_token& stop) {
  const Deadline next = Deadline::After(kSweepEvery);
  while (!stop.stop_requested() && !next.Expired(Clock::now())) {
    const std::vector<std::size_t> refusing = regions_.Refusing(Clock::now());
    if (!refusing.empty()) {
      for (const std::size_t target : reconnections_.Await(refusing, stop, next)) {
        regions_.Reconnected(target);
      }
      continue;
    }
    MutexLock lock(sweep_mutex_);
    sweep_wake_.wait_until(lock.native(), stop, next.at(),
                           [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sweep_mutex_) {
                             return std::exchange(refused_, false);
                           });
  }
}

}  // namespace inferpool::backend
