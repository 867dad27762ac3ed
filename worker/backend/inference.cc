#include "worker/backend/inference.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include "proto/tensor.h"
#include "shared/base/log.h"
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

// What an output of a batch of `rows` takes; none when its size is the answer's to say.
std::optional<std::size_t> OutputBytes(const Model& model, const std::string& name, int rows) {
  const auto& outputs = model.description.outputs;
  const auto output = std::ranges::find(outputs, name, &TensorSpec::name);
  if (output == outputs.end()) return std::nullopt;
  std::vector<std::int64_t> shape = output->shape;
  if (model.description.max_batch_size > 0 && !shape.empty()) shape[0] = rows;
  const absl::StatusOr<std::size_t> bytes = ByteSize(ParseDatatype(output->datatype), shape);
  return bytes.ok() ? std::optional(*bytes) : std::nullopt;
}

std::size_t Aligned(std::size_t bytes) {
  return (bytes + OffsetAllocator::kAlignment - 1) / OffsetAllocator::kAlignment *
         OffsetAllocator::kAlignment;
}

// The outputs of one call, where their sizes are known; one lease for all.
struct OutputPlan {
  std::vector<OutputPlace> places;
  std::shared_ptr<Lease> lease;  // of nothing when there are no places
};

OutputPlan PlanOutputs(const Model& model, int rows,
                       const std::function<Lease(std::size_t)>& allocate) {
  OutputPlan plan;
  std::size_t total = 0;
  for (const std::string& name : model.plan->outputs) {
    if (const auto bytes = OutputBytes(model, name, rows); bytes && *bytes > 0) {
      plan.places.push_back({.name = name, .lease = nullptr, .offset = total, .bytes = *bytes});
      total += Aligned(*bytes);
    }
  }
  if (total == 0) return plan;
  plan.lease = std::make_shared<Lease>(allocate(total));
  if (plan.lease->arena() == nullptr) return {};
  for (OutputPlace& place : plan.places) place.lease = plan.lease;
  return plan;
}

// The model's level for a priority; 0: the request need not name one.
std::uint64_t LevelOf(const Model& model, Priority priority) {
  const std::uint64_t levels = model.description.priority_levels;
  if (levels == 0 || priority == Priority::kNormal) return 0;
  const std::uint64_t level = priority == Priority::kHigh ? 1 : levels;
  return level == model.description.default_priority_level ? 0 : level;
}

inference::ModelInferRequest RequestFor(const Model& model, const Aggregator::Rows& rows,
                                        Priority priority) {
  const vision::ModelPlan& plan = *model.plan;
  inference::ModelInferRequest request;
  request.set_model_name(model.description.name);
  if (const std::uint64_t level = LevelOf(model, priority); level != 0) {
    // As Triton's clients send it; older servers take no uint64.
    (*request.mutable_parameters())["priority"].set_int64_param(static_cast<std::int64_t>(level));
  }
  auto& input = *request.add_inputs();
  input.set_name(plan.input_name);
  input.set_datatype(std::string(vision::WireDatatype(plan)));
  if (plan.has_batch_dimension) input.add_shape(rows.rows);
  input.mutable_shape()->Add(rows.row_shape.begin(), rows.row_shape.end());
  for (const std::string& output : plan.outputs) request.add_outputs()->set_name(output);
  return request;
}

}  // namespace

// Kept while the model stays as it is described.
struct Inference::Calls {
  Calls(Inference& owner, std::shared_ptr<const Model> wanted, BatchLimits limits)
      : inference(owner),
        model(std::move(wanted)),
        by_priority{Make(limits), Make(limits), Make(limits)} {}

  // Rows of one priority are joined, and do not wait for others.
  Aggregator& Of(Priority priority) {
    const bool as_default = LevelOf(*model, priority) == 0;
    return by_priority[static_cast<std::size_t>(as_default ? Priority::kNormal : priority)];
  }

  Inference& inference;
  const std::shared_ptr<const Model> model;

 private:
  Aggregator Make(BatchLimits limits) {
    return Aggregator(
        limits, [this](std::size_t bytes, bool last) { return inference.Allocate(bytes, last); },
        [this](const Aggregator::Rows& rows, const CallLimits& of_call) {
          return inference.Send(*model, rows, of_call);
        });
  }

  std::array<Aggregator, kPriorityNames.size()> by_priority;
};

Inference::Inference(const Client& client, InferenceOptions options)
    : client_(client),
      options_(std::move(options)),
      arenas_(options_.domain, options_.arena_bytes),
      regions_(options_.transport, Targets(client)),
      sweeper_([this](const std::stop_token& stop) { SweepNowAndThen(stop); }) {}

Inference::~Inference() {
  sweeper_.request_stop();
  sweeper_.join();
  arenas_.Close();
  Sweep(kLastSweepTime);
}

absl::StatusOr<Inference::Row> Inference::Begin(const std::shared_ptr<const Model>& model,
                                                std::span<const std::int64_t> row_shape,
                                                std::size_t row_bytes, const CallLimits& limits) {
  std::shared_ptr<Calls> calls = CallsOf(model);
  absl::StatusOr<Aggregator::Row> row =
      calls->Of(limits.priority).Join(row_shape, row_bytes, limits);
  RETURN_IF_ERROR(row.status());
  return Row(std::move(calls), *std::move(row));
}

std::shared_ptr<Inference::Calls> Inference::CallsOf(const std::shared_ptr<const Model>& model) {
  const std::lock_guard lock(mutex_);
  if (calls_.size() > kMaxModels) calls_.clear();
  std::shared_ptr<Calls>& calls = calls_[model->description.name];
  if (calls == nullptr ||
      (calls->model != model && calls->model->description != model->description)) {
    BatchLimits limits = options_.batch;
    // A file's bytes are no row that others could follow.
    const bool batches = model->plan->input_kind == vision::InputKind::kPixels;
    const auto most = static_cast<int>(
        std::clamp<std::int64_t>(model->description.max_batch_size, 1, limits.max_rows));
    limits.max_rows = batches ? most : 1;
    calls = std::make_shared<Calls>(*this, model, limits);
  }
  return calls;
}

Lease Inference::Allocate(std::size_t bytes, bool last) {
  constexpr std::size_t kBesidesTensor = 64 << 10;
  // What fits no message could not be sent where the server cannot open shared memory.
  if (!last && options_.transport != Transport::kShm &&
      bytes + kBesidesTensor > options_.message_bytes) {
    return {};
  }
  if (options_.transport != Transport::kInline) {
    Lease lease = arenas_.Allocate(bytes, Clock::now());
    // Few rows in shared memory are better than many that are not.
    if (lease || !last || options_.transport == Transport::kShm) return lease;
  }
  return Lease::OnHeap(bytes);
}

absl::StatusOr<Aggregator::Answer> Inference::Send(const Model& model, const Aggregator::Rows& rows,
                                                   const CallLimits& limits) {
  const std::shared_ptr<Arena>& arena = rows.memory->arena();
  OutputPlan outputs;
  bool shared = false;      // as the last encoding was
  bool named = false;       // some encoding told a server of our memory
  bool by_message = false;  // no more encodings shall
  const auto encode = [&](const Attempt& attempt) -> absl::StatusOr<grpc::ByteBuffer> {
    if (!attempt.settled && outputs.lease != nullptr) {
      outputs.lease->Retire();
    }
    outputs = {};
    shared = false;
    inference::ModelInferRequest request = RequestFor(model, rows, limits.priority);
    if (arena != nullptr && !by_message) {
      const auto way = regions_.Prepare(attempt.target, arena, limits.deadline, Clock::now());
      RETURN_IF_ERROR(way.status());
      shared = *way == SharedRegions::Way::kShared;
    }
    if (!shared) {
      const RawInput input = {
          std::span<const std::byte>(rows.memory->bytes()).subspan(rows.offset, rows.bytes),
          rows.memory};
      return Encode(request, {&input, 1});
    }
    named = true;
    PutInSharedMemory(*rows.memory, rows.offset, rows.bytes,
                      *request.mutable_inputs(0)->mutable_parameters());
    // Outputs come back the same way if they find room in the arena that the server knows.
    outputs =
        PlanOutputs(model, rows.rows, [&](std::size_t bytes) { return arena->Allocate(bytes); });
    for (auto& output : *request.mutable_outputs()) {
      const auto place = std::ranges::find(outputs.places, output.name(), &OutputPlace::name);
      if (place != outputs.places.end()) {
        PutInSharedMemory(*outputs.lease, place->offset, place->bytes,
                          *output.mutable_parameters());
      }
    }
    return Encode(request, {});
  };

  Answer answer = client_.Infer(encode, limits);
  bool settled = answer.settled;
  // A server that was started anew has forgotten our memory; so may have the one asked next. When
  // all have, and again, there are several servers behind one name, or they come and go.
  for (std::size_t i = 0; shared && IsRegionUnknown(answer.message.status()); ++i) {
    regions_.Forget(answer.target, arena->name());
    if (i == client_.targets()) {
      regions_.Rest(answer.target, Clock::now());
      by_message = options_.transport == Transport::kAuto;
      if (!by_message) break;
    }
    answer = client_.Infer(encode, limits);
    settled = settled && answer.settled;
  }
  if (!settled && named) {
    rows.memory->Retire();
    if (outputs.lease != nullptr) outputs.lease->Retire();
  }
  RETURN_IF_ERROR(answer.message.status());
  absl::StatusOr<InferAnswer> decoded = Decode(*answer.message, std::move(outputs.places));
  RETURN_IF_ERROR(decoded.status());
  return std::make_shared<const InferAnswer>(*std::move(decoded));
}

void Inference::Sweep(Clock::duration time) {
  const Deadline deadline = Deadline::After(time);
  const Swept swept = SweepSegments(
      options_.domain, [&](const std::string& name) { return regions_.Unregister(name, deadline); },
      deadline);
  if (swept.removed > 0) {
    log::Debug("shared memory swept", {{"removed", swept.removed}, {"left", swept.left}});
  }
}

void Inference::SweepNowAndThen(const std::stop_token& stop) {
  if (options_.transport == Transport::kInline) return;
  std::unique_lock lock(sweep_mutex_);
  while (!stop.stop_requested()) {
    lock.unlock();
    Sweep(kSweepTime);
    lock.lock();
    sweep_wake_.wait_for(lock, stop, kSweepEvery, [] { return false; });
  }
}

}  // namespace inferpool::backend
