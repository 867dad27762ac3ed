#include "worker/backend/rpc/model_watch.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "proto/kserve.pb.h"
#include "shared/base/status.h"
#include "worker/backend/rpc/messages.h"

namespace inferpool::backend {
namespace {

// A Triton may look at an object store first.
constexpr std::chrono::seconds kPatience{2};
// A server that has lost a model may just have been started, and be loading it.
constexpr std::chrono::milliseconds kSoon{250};
constexpr int kSoonRounds = 20;
// Who has said nothing for so long is not waited for.
constexpr std::chrono::milliseconds kHungAfter{250};

// True for an answer that tells nothing of the models: there was none, or nobody waits for it.
bool IsSilence(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsCancelled(status);
}

template <typename Response>
absl::StatusOr<Response> Call(UnaryCalls& calls, std::string_view method,
                              const google::protobuf::Message& request,
                              const std::stop_token& stop) {
  const absl::StatusOr<grpc::ByteBuffer> bytes = ToBytes(request);
  RETURN_IF_ERROR(bytes.status());
  Reply reply = calls.Call(method, *bytes, {Deadline::After(kPatience), stop}, CallWatch{});
  RETURN_IF_ERROR(reply.message.status());
  return FromBytes<Response>(*reply.message, method);
}

template <typename Request, typename Response>
absl::StatusOr<Response> CallAbout(UnaryCalls& calls, std::string_view method,
                                   const ModelVersion& model, const std::stop_token& stop) {
  Request request;
  request.set_name(model.name);
  request.set_version(model.version);
  return Call<Response>(calls, method, request, stop);
}

}  // namespace

ModelWatch::ModelWatch(std::span<const std::unique_ptr<Target>> targets, ModelDirectory& directory,
                       bool by_itself)
    : targets_(targets), directory_(directory), by_itself_(by_itself), rounds_(targets.size()) {
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    threads_.emplace_back([this, i](const std::stop_token& stop) { Run(i, stop); });
  }
}

ModelWatch::~ModelWatch() {
  for (std::jthread& thread : threads_) thread.request_stop();
}

void ModelWatch::LookAgain(const Look& look, Deadline deadline) {
  MutexLock lock(mutex_);
  std::vector<std::uint64_t> awaited(rounds_.size(), 0);
  const TimePoint now = Clock::now();
  for (std::size_t i = 0; i < rounds_.size(); ++i) {
    if (look.is_known(i)) continue;
    Rounds& rounds = rounds_[i];
    // One that is under way may have been answered before the change.
    const std::uint64_t next = rounds.begun + 1;
    rounds.wanted = std::max(rounds.wanted, next);
    const bool takes_long = rounds.ended < rounds.begun && now > rounds.began + kHungAfter;
    const bool hung = rounds.hung || takes_long;
    if (look.waits_for(i) && (look.waits_for_hung || !hung)) awaited[i] = next;
  }
  wanted_.notify_all();
  const auto is_over = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (std::size_t i = 0; i < rounds_.size(); ++i) {
      if (rounds_[i].ended < awaited[i]) return look.enough();
    }
    return true;
  };
  ended_.wait_until(lock.native(), deadline.at(), is_over);
}

void ModelWatch::Run(std::size_t server, const std::stop_token& stop) {
  MutexLock lock(mutex_);
  bool first = true;
  int soon = 0;  // rounds that follow sooner
  while (!stop.stop_requested()) {
    Rounds& rounds = rounds_[server];
    const auto is_wanted = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return rounds.wanted > rounds.begun;
    };
    if (!by_itself_) {
      if (!wanted_.wait(lock.native(), stop, is_wanted)) return;
    } else if (!std::exchange(first, false)) {
      const Clock::duration pause = soon > 0 ? Clock::duration(kSoon) : Clock::duration(kEvery);
      wanted_.wait_for(lock.native(), stop, pause, is_wanted);
      if (stop.stop_requested()) return;
    }
    const std::uint64_t round = ++rounds.begun;
    const TimePoint began = rounds.began = Clock::now();
    lock.Unlock();
    const std::vector<ModelDirectory::Ready> before = directory_.ReadyOn(server);
    Ask(server, stop);
    const std::vector<ModelDirectory::Ready> after = directory_.ReadyOn(server);
    const bool has_lost = std::ranges::any_of(before, [&](const ModelDirectory::Ready& model) {
      return std::ranges::find(after, model.name, &ModelDirectory::Ready::name) == after.end();
    });
    soon = has_lost ? kSoonRounds : std::max(soon - 1, 0);
    lock.Lock();
    rounds.ended = round;
    rounds.hung = Clock::now() > began + kHungAfter && !directory_.Told(server, began);
    ended_.notify_all();
  }
}

void ModelWatch::Ask(std::size_t server, const std::stop_token& stop) {
  Target& target = *targets_[server];
  if (!target.MayConnect()) return;
  const TimePoint now = Clock::now();
  std::vector<ModelVersion> questions = directory_.Questions(server);
  if (questions.empty() || directory_.AsksForIndex(server, now)) {
    inference::RepositoryIndexRequest request;
    request.set_ready(true);
    const auto index =
        Call<inference::RepositoryIndexResponse>(target.calls(), "RepositoryIndex", request, stop);
    if (index.ok()) {
      std::vector<ModelVersion> ready;
      for (const auto& entry : index->models()) {
        // Some servers list more than they were asked for.
        if (!SaysReady(entry.state(), /*asked_for_ready=*/true)) continue;
        ready.push_back({entry.name(), entry.version()});
      }
      directory_.TookIndex(server, ready, now);
      return;
    }
    if (IsSilence(index.status())) return;
    directory_.TookNoIndex(server, now);
  }
  for (const ModelVersion& model : questions) {
    if (stop.stop_requested() || !AskAbout(server, model, stop)) return;
  }
}

bool ModelWatch::AskAbout(std::size_t server, const ModelVersion& model,
                          const std::stop_token& stop) {
  Target& target = *targets_[server];
  const TimePoint now = Clock::now();
  const auto answer = CallAbout<inference::ModelReadyRequest, inference::ModelReadyResponse>(
      target.calls(), "ModelReady", model, stop);
  absl::Status status = answer.status();
  bool ready = answer.ok() && answer->ready();
  if (absl::IsUnimplemented(status)) {
    // What such a server describes it has.
    status = CallAbout<inference::ModelMetadataRequest, inference::ModelMetadataResponse>(
                 target.calls(), "ModelMetadata", model, stop)
                 .status();
    ready = status.ok();
    if (absl::IsUnimplemented(status)) {
      directory_.TookNothing(server, now);
      return false;
    }
  }
  // A server that is there calls a model that it does not have ready UNAVAILABLE, too.
  const bool is_models = absl::IsUnavailable(status) && target.MayConnect();
  if (IsSilence(status) && !is_models) return false;
  directory_.TookReadiness(server, model, ready, now);
  return true;
}

}  // namespace inferpool::backend
