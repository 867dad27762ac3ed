#include "worker/backend/rpc/client.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "proto/model_config.pb.h"
#include "worker/backend/rpc/messages.h"
#include "worker/backend/rpc/readiness_checks.h"

namespace inferpool::backend {
namespace {

// gRPC may answer a call whose deadline was over before it began.
absl::Status CheckNotOver(Deadline deadline) {
  return deadline.Expired(Clock::now()) ? absl::DeadlineExceededError("no time was left")
                                        : absl::OkStatus();
}

TensorSpec ToSpec(const inference::ModelMetadataResponse::TensorMetadata& tensor) {
  return {tensor.name(), tensor.datatype(), {tensor.shape().begin(), tensor.shape().end()}};
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// Where the class names are in a model's config: KServe has no call that fetches labels.
constexpr const char* kClassNames = "class_names";

constexpr std::string_view kInfer = "ModelInfer";

// gRPC ends a call at its deadline, usually within this.
constexpr std::chrono::milliseconds kGrace{200};

// For a look at the models of all servers.
constexpr std::chrono::seconds kLookAtAll{2};
// For one at where a model is, while a request waits: one that was there until now, and others.
constexpr std::chrono::seconds kLookForMoved{1};
constexpr std::chrono::milliseconds kLookForOne{250};
// What one of several servers may take when all of them are asked.
constexpr std::chrono::seconds kEach{2};
// What nobody is known to have is not looked for again within this, however many ask for it.
constexpr std::chrono::milliseconds kNews{100};
// A model that a server lost no longer ago may have gone to another one.
constexpr std::chrono::seconds kLately{10};

Deadline Sooner(Deadline deadline, Clock::duration patience) {
  return Deadline(std::min(deadline.at(), Clock::now() + patience));
}

std::vector<std::unique_ptr<Target>> MakeTargets(const std::vector<std::string>& names,
                                                 int message_mb, const ClientOptions& options,
                                                 WakeEvent& wake) {
  std::vector<std::unique_ptr<Target>> targets;
  targets.reserve(names.size());
  for (const std::string& name : names) {
    targets.push_back(std::make_unique<Target>(name, message_mb, options, wake));
  }
  return targets;
}

}  // namespace

Client::Client(const std::vector<std::string>& targets, int message_mb,
               const ClientOptions& options)
    : context_(options.counts),
      targets_(MakeTargets(targets, message_mb, options, bell_)),
      directory_(targets.size(), options.models),
      health_checker_(targets_, bell_,
                      [this](std::size_t server) { return directory_.SignsOf(server); }),
      model_watch_(targets_, directory_, options.always_watch || targets.size() > 1) {}

absl::Status Client::ServerReady(Deadline deadline) const {
  RETURN_IF_ERROR(CheckNotOver(deadline));
  std::vector<ReadinessChecks::Stub*> stubs;
  for (const auto& target : targets_) stubs.push_back(&target->stub());
  ReadinessChecks checks(stubs, [this](std::size_t i) { return directory_.SignsOf(i); });
  for (std::size_t i = 0; i < stubs.size(); ++i) checks.Ask(i, deadline);
  const Deadline end(deadline.at() + kGrace);
  absl::Status first_error;
  while (checks.AnyOut()) {
    const auto answer = checks.Next(end);
    if (!answer) return absl::DeadlineExceededError("the model server did not answer in time");
    if (answer->ready.ok()) return answer->ready;
    if (first_error.ok()) first_error = answer->ready;
  }
  return first_error;
}

absl::StatusOr<std::vector<std::string>> Client::Models(Deadline deadline) const {
  RETURN_IF_ERROR(CheckNotOver(deadline));
  const TimePoint start = Clock::now();
  AwaitModels(deadline);
  bool may_answer = false;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (directory_.Told(i, start)) return directory_.Names();
    may_answer = may_answer || (targets_[i]->MayConnect() && !IsOpen(i));
  }
  return may_answer ? absl::DeadlineExceededError("no model server said its models in time")
                    : absl::UnavailableError("no model server can be reached");
}

void Client::AwaitModels(Deadline deadline) const {
  model_watch_.LookAgain({.is_known = [this](std::size_t i) { return IsOpen(i); },
                          .waits_for = [](std::size_t) { return true; },
                          .waits_for_hung = targets_.size() == 1,
                          .enough = [] { return false; }},
                         Sooner(deadline, kLookAtAll));
}

bool Client::IsOpen(std::size_t server) const {
  return targets_[server]->breaker().state(Clock::now()) == Breaker::State::kOpen;
}

std::size_t Client::Pick(const ModelVersion& model, std::size_t turn,
                         std::optional<std::size_t> avoid) const {
  if (targets_.size() == 1) return 0;
  const std::vector<std::size_t> servers = directory_.ServersFor(model);
  const auto find = [&](const auto& suits) -> std::optional<std::size_t> {
    for (std::size_t i = 0; i < servers.size(); ++i) {
      const std::size_t server = servers[(turn + i) % servers.size()];
      if (server != avoid && suits(server)) return server;
    }
    return std::nullopt;
  };
  if (auto found =
          find([this](std::size_t i) { return !IsOpen(i) && targets_[i]->MayConnect(); })) {
    return *found;
  }
  if (auto found = find([this](std::size_t i) { return !IsOpen(i); })) return *found;
  return servers[turn % servers.size()];
}

bool Client::IsElsewhere(std::size_t server, const ModelVersion& model, bool away,
                         Deadline deadline) const {
  if (targets_.size() == 1) return false;
  const TimePoint now = Clock::now();
  const bool had_it = directory_.Look(server, model) == ModelDirectory::Has::kYes;
  const Clock::duration max_age = had_it && !away ? Clock::duration(0) : kNews;
  // Of one that a server has lost, only what was said after that tells where it is now.
  const TimePoint lost = directory_.LostAt(model.name);
  const TimePoint since = std::max(now - max_age, lost);
  directory_.Want(model);
  const bool may_have_moved = had_it || now < lost + kLately;
  const Clock::duration patience =
      may_have_moved && !away ? Clock::duration(kLookForMoved) : Clock::duration(kLookForOne);
  model_watch_.LookAgain(
      {.is_known = [&](std::size_t i) { return directory_.Knows(i, model, since); },
       .waits_for = [&](std::size_t i) { return i != server && !IsOpen(i); },
       .waits_for_hung = false,
       .enough = [&] { return directory_.HasAnotherThan(server, model); }},
      Sooner(deadline, patience));
  return directory_.HasAnotherThan(server, model);
}

absl::StatusOr<ModelDescription> Client::Describe(const ModelVersion& model, std::size_t server,
                                                  Deadline deadline) const {
  const std::size_t only[] = {server};
  inference::ModelMetadataRequest metadata_request;
  metadata_request.set_name(model.name);
  metadata_request.set_version(model.version);
  const auto metadata =
      Ask<inference::ModelMetadataResponse>("ModelMetadata", metadata_request, only, {deadline});
  RETURN_IF_ERROR(metadata.status());
  directory_.Found(server, model);
  inference::ModelConfigRequest config_request;
  config_request.set_name(model.name);
  config_request.set_version(model.version);
  auto answer =
      Ask<inference::ModelConfigResponse>("ModelConfig", config_request, only, {deadline});
  // It is Triton's extension.
  if (absl::IsUnimplemented(answer.status())) answer = inference::ModelConfigResponse();
  RETURN_IF_ERROR(answer.status());
  const inference::ModelConfig& config = answer->config();
  ModelDescription description;
  description.name = metadata->name().empty() ? model.name : metadata->name();
  if (!model.version.empty()) {
    description.version = model.version;
  } else if (metadata->versions_size() > 0) {
    description.version = metadata->versions(metadata->versions_size() - 1);
  }
  description.has_config = answer->has_config();
  description.max_batch_size = config.max_batch_size();
  description.priority_levels = config.dynamic_batching().priority_levels();
  description.default_priority_level = config.dynamic_batching().default_priority_level();
  std::ranges::transform(metadata->inputs(), std::back_inserter(description.inputs), ToSpec);
  std::ranges::transform(metadata->outputs(), std::back_inserter(description.outputs), ToSpec);
  for (const auto& [key, value] : config.parameters()) {
    if (key == kClassNames) {
      description.class_names = Lines(value.string_value());
    } else {
      description.parameters[key] = value.string_value();
    }
  }
  return description;
}

absl::StatusOr<inference::ServerMetadataResponse> Client::ServerMetadata(
    const CallLimits& limits) const {
  return Ask<inference::ServerMetadataResponse>("ServerMetadata",
                                                inference::ServerMetadataRequest(), {}, limits);
}

template <typename Response>
absl::StatusOr<std::vector<absl::StatusOr<Response>>> Client::AskEach(
    std::string_view method, const google::protobuf::Message& request,
    const CallLimits& limits) const {
  std::vector<absl::StatusOr<Response>> answers;
  bool any = false;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    CallLimits each = limits;
    if (targets_.size() > 1) each.deadline = Sooner(limits.deadline, kEach);
    const std::size_t only[] = {i};
    answers.push_back(Ask<Response>(method, request, only, each));
    any = any || answers.back().ok();
    if (absl::IsCancelled(answers.back().status())) break;
  }
  if (any) return answers;
  // What a server says tells more than that another one is away.
  const auto said = std::ranges::find_if(
      answers, [](const auto& answer) { return !absl::IsUnavailable(answer.status()); });
  return (said == answers.end() ? answers.front() : *said).status();
}

absl::StatusOr<inference::ModelStatisticsResponse> Client::AllStatistics(
    const CallLimits& limits) const {
  const auto answers = AskEach<inference::ModelStatisticsResponse>(
      "ModelStatistics", inference::ModelStatisticsRequest(), limits);
  RETURN_IF_ERROR(answers.status());
  inference::ModelStatisticsResponse all;
  for (const auto& answer : *answers) {
    if (answer.ok()) all.MergeFrom(*answer);
  }
  return all;
}

absl::StatusOr<inference::RepositoryIndexResponse> Client::RepositoryIndex(
    bool only_ready, const CallLimits& limits) const {
  inference::RepositoryIndexRequest request;
  request.set_ready(only_ready);
  const auto answers =
      AskEach<inference::RepositoryIndexResponse>("RepositoryIndex", request, limits);
  if (!answers.ok() && (targets_.size() == 1 || !absl::IsUnimplemented(answers.status()))) {
    return answers.status();
  }
  using Entry = inference::RepositoryIndexResponse::ModelIndex;
  std::map<std::tuple<std::string, std::string, std::string>, Entry> entries;
  const auto add = [&entries](Entry entry) {
    entries.try_emplace({entry.name(), entry.version(), entry.state()}, std::move(entry));
  };
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (answers.ok() && i < answers->size() && (*answers)[i].ok()) {
      for (const Entry& entry : (*answers)[i]->models()) add(entry);
      continue;
    }
    if (!targets_[i]->MayConnect() || IsOpen(i)) continue;
    for (const auto& [name, versions] : directory_.ReadyOn(i)) {
      Entry entry;
      entry.set_name(name);
      entry.set_state("READY");
      for (const std::string& version : versions) {
        entry.set_version(version);
        add(entry);
      }
      if (versions.empty()) add(entry);
    }
  }
  inference::RepositoryIndexResponse merged;
  for (auto& [key, entry] : entries) *merged.add_models() = std::move(entry);
  return merged;
}

absl::StatusOr<inference::ModelInferResponse> Client::Infer(
    const inference::ModelInferRequest& request, const CallLimits& limits) const {
  return Ask<inference::ModelInferResponse>(kInfer, request, {}, limits);
}

absl::StatusOr<grpc::ByteBuffer> Client::Infer(const grpc::ByteBuffer& request,
                                               const CallLimits& limits) const {
  return Call(kInfer, request, {}, limits);
}

absl::Status Client::CheckAdmits(std::span<const std::size_t> servers) const {
  bool all_are_open = true;
  const std::size_t count = servers.empty() ? targets() : servers.size();
  for (std::size_t i = 0; i < count && all_are_open; ++i) {
    all_are_open = IsOpen(servers.empty() ? i : servers[i]);
  }
  if (!all_are_open) return absl::OkStatus();
  context_.Count(ModelCall::kMade);
  return Refuse(context_);
}

bool Client::IsAway(const ModelVersion& model) const {
  return std::ranges::all_of(directory_.ServersFor(model),
                             [this](std::size_t server) { return IsOpen(server); });
}

TargetState Client::State(std::size_t target) const {
  Target& of = *targets_[target];
  return {of.name(), of.MayConnect(), of.breaker().state(Clock::now()), of.openings()};
}

template <typename Response>
absl::StatusOr<Response> Client::Ask(std::string_view method,
                                     const google::protobuf::Message& request,
                                     std::span<const std::size_t> eligible,
                                     const CallLimits& limits) const {
  const absl::StatusOr<grpc::ByteBuffer> bytes = ToBytes(request);
  RETURN_IF_ERROR(bytes.status());
  absl::StatusOr<grpc::ByteBuffer> answer = Call(method, *bytes, eligible, limits);
  RETURN_IF_ERROR(answer.status());
  return FromBytes<Response>(*answer, method);
}

absl::StatusOr<grpc::ByteBuffer> Client::Call(std::string_view method,
                                              const grpc::ByteBuffer& request,
                                              std::span<const std::size_t> eligible,
                                              const CallLimits& limits) const {
  Attempts attempts = NewAttempts(limits.deadline);
  while (std::optional<Attempt> attempt = attempts.Next(Candidates(eligible), Clock::now())) {
    Answer answer = Send(*std::move(attempt), method, request, limits);
    attempts.Record(answer.message.status(), answer.outcome);
    if (answer.message.ok()) return std::move(answer.message);
  }
  return attempts.status();
}

std::vector<Candidate> Client::Candidates(std::span<const std::size_t> eligible) const {
  std::vector<Candidate> candidates;
  candidates.reserve(targets_.size());
  for (const auto& target : targets_) {
    candidates.push_back({&target->breaker(), target->MayConnect(), eligible.empty()});
  }
  for (const std::size_t server : eligible) candidates[server].eligible = true;
  return candidates;
}

Answer Client::Send(Attempt attempt, std::string_view method, const grpc::ByteBuffer& request,
                    const CallLimits& limits) const {
  return targets_[attempt.target]->Call(std::move(attempt.permit), method, request, limits);
}

// ---- ModelCalls

absl::StatusOr<grpc::ByteBuffer> ModelCalls::Call(std::string_view method,
                                                  const grpc::ByteBuffer& request,
                                                  const CallLimits& limits) {
  const bool one = client_.targets() == 1;
  bool looked = one;
  bool sent = false;
  Attempts attempts = client_.NewAttempts(limits.deadline);
  while (true) {
    const std::vector<std::size_t> servers =
        one || !servers_.empty() ? servers_ : client_.directory().ServersFor(model_);
    std::optional<Attempt> attempt = attempts.Next(client_.Candidates(servers), Clock::now());
    if (!attempt) {
      // The only one that is known to have it is away: others may have it as well.
      if (looked || servers.size() != 1 || !absl::IsUnavailable(attempts.status())) break;
      looked = true;
      if (!client_.IsElsewhere(servers.front(), model_, /*away=*/true, limits.deadline)) break;
      if (sent && !client_.MayRepeat()) break;
      servers_ = client_.directory().ServersFor(model_);
      std::erase(servers_, servers.front());
      attempts.StartAgain();
      continue;
    }
    sent = true;
    const std::size_t server = attempt->target;
    Answer answer = client_.Send(*std::move(attempt), method, request, limits);
    const absl::Status& status = answer.message.status();
    attempts.Record(status, answer.outcome);
    if (status.ok()) {
      servers_ = {server};
      return std::move(answer.message);
    }
    // UNAVAILABLE of the only server that has it may say that it has just been unloaded there.
    const bool unavailable = absl::IsUnavailable(status) && servers.size() == 1 &&
                             answer.outcome == Breaker::Outcome::kDoubtful;
    if (looked || !(absl::IsNotFound(status) || unavailable)) continue;
    looked = true;
    if (client_.IsElsewhere(server, model_, unavailable, limits.deadline) &&
        (!unavailable || client_.MayRepeat())) {
      servers_ = client_.directory().ServersFor(model_);
      std::erase(servers_, server);
      attempts.StartAgain();
    }
  }
  return attempts.status();
}

template <typename Request, typename Response>
absl::StatusOr<Response> ModelCalls::Ask(std::string_view method, const CallLimits& limits) {
  Request request;
  request.set_name(model_.name);
  request.set_version(model_.version);
  const absl::StatusOr<grpc::ByteBuffer> bytes = ToBytes(request);
  RETURN_IF_ERROR(bytes.status());
  absl::StatusOr<grpc::ByteBuffer> answer = Call(method, *bytes, limits);
  RETURN_IF_ERROR(answer.status());
  return FromBytes<Response>(*answer, method);
}

absl::StatusOr<inference::ModelReadyResponse> ModelCalls::Ready(const CallLimits& limits) {
  const auto ask = [&] {
    return Ask<inference::ModelReadyRequest, inference::ModelReadyResponse>("ModelReady", limits);
  };
  const auto answer = ask();
  if (!answer.ok() || answer->ready() || client_.targets() == 1) return answer;
  // Servers say no with an answer here, not with NOT_FOUND.
  const std::size_t server = servers_.front();
  if (!client_.IsElsewhere(server, model_, /*away=*/false, limits.deadline)) return answer;
  servers_ = client_.directory().ServersFor(model_);
  std::erase(servers_, server);
  return ask();
}

absl::StatusOr<inference::ModelMetadataResponse> ModelCalls::Metadata(const CallLimits& limits) {
  return Ask<inference::ModelMetadataRequest, inference::ModelMetadataResponse>("ModelMetadata",
                                                                                limits);
}

absl::StatusOr<inference::ModelConfigResponse> ModelCalls::Config(const CallLimits& limits) {
  return Ask<inference::ModelConfigRequest, inference::ModelConfigResponse>("ModelConfig", limits);
}

absl::StatusOr<inference::ModelStatisticsResponse> ModelCalls::Statistics(
    const CallLimits& limits) {
  return Ask<inference::ModelStatisticsRequest, inference::ModelStatisticsResponse>(
      "ModelStatistics", limits);
}

absl::StatusOr<grpc::ByteBuffer> ModelCalls::Infer(const grpc::ByteBuffer& request,
                                                   const CallLimits& limits) {
  return Call(kInfer, request, limits);
}

}  // namespace inferpool::backend
