#include "worker/predict/shadow.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>
#include <variant>

#include "fcgi/serving/crash_scope.h"
#include "shared/base/log.h"
#include "shared/pictures/header.h"
#include "worker/predict/agreement.h"
#include "worker/predict/answer.h"
#include "worker/predict/picture_cost.h"
#include "worker/routes/route_service.h"

namespace inferpool::predict {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;
constexpr std::chrono::seconds kPatience{5};
constexpr std::string_view kVariant = "shadow";

// Of the calling thread alone, as Linux has it.
void TakeLowestPriority() {
  constexpr int kLowest = 19;
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kLowest);
}

}  // namespace

ShadowRunner::ShadowRunner(const http::Services& services, std::span<const ThreadSlot> thread_slots)
    : services_(services),
      thread_slots_(thread_slots),
      own_slot_(std::make_unique<ThreadSlot>()),
      queue_(kMaxBytes),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

ShadowRunner::~ShadowRunner() = default;

void ShadowRunner::Offer(std::shared_ptr<const ShadowJob> job) {
  const ShadowJob& offered = *job;
  if (!queue_.Put(job)) CountDropped(offered);
}

bool ShadowRunner::IsLoaded() const {
  const auto busy = static_cast<std::size_t>(
      std::ranges::count_if(thread_slots_, [](const ThreadSlot& thread_slot) {
        return thread_slot.busy_since_ns.load(std::memory_order_relaxed) != 0;
      }));
  return busy > std::max<std::size_t>(1, thread_slots_.size() / 2);
}

void ShadowRunner::CountDropped(const ShadowJob& job) {
  services_.routes->counts.Find(job.route, kVariant, job.model.name, job.model.version)
      .CountDropped();
}

void ShadowRunner::Run(const std::stop_token& stop) {
  TakeLowestPriority();
  const fcgi::BackgroundCrashScope scope(own_slot_->task);
  while (const std::shared_ptr<const ShadowJob> job = queue_.Take(stop)) {
    std::size_t grown = 0;
    bool asked = false;
    try {
      const bool is_stale = IsStale(*job, *services_.routes->live.Current(), Clock::now());
      asked = !is_stale && !IsLoaded() && Ask(*job, stop, grown);
    } catch (const std::exception& error) {  // out of memory, for one
      log::Error("shadow failed", {{"request_id", job->request_id}, {"reason", error.what()}});
    }
    own_slot_->task.Store({});
    if (!asked) CountDropped(*job);
    queue_.Done(*job, grown);
  }
}

bool ShadowRunner::Ask(const ShadowJob& job, const std::stop_token& stop, std::size_t& grown) {
  const TimePoint begun = Clock::now();
  const fcgi::Request request;
  HeavySteps heavy(services_.heavy, *own_slot_, HeavyClient(""));
  const http::Exchange exchange{.request = request,
                                .thread_slot = *own_slot_,
                                .heavy = heavy,
                                .id = job.request_id,
                                .problem_form = http::ProblemForm::kProblemJson,
                                .limits = {.deadline = Deadline(begun + kPatience),
                                           .departed = stop,
                                           .priority = Priority::kLow,
                                           .alone = true}};
  const auto count = [&](bool failed, const std::string& version) -> RouteCounts& {
    RouteCounts& counts =
        services_.routes->counts.Find(job.route, kVariant, job.model.name, version);
    counts.CountRequest(
        failed, std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun));
    return counts;
  };
  const auto known = services_.catalog.Get(job.model, exchange.limits.deadline);
  if (!known.ok() || !(*known)->plan.ok()) {
    count(/*failed=*/true, job.model.version);
    return true;
  }
  if (const auto header = vision::ReadHeader(job.picture); header.ok()) {
    const Picture picture{
        .file = job.picture, .digest = {}, .header = *header, .size = vision::UprightSize(*header)};
    const int reduction = ReductionFor(*(*known)->plan, job.parameters, picture, services_.config);
    const std::uint64_t bytes = DecodeCost(job.picture, *header, reduction).bytes;
    if (!queue_.Grow(bytes)) return false;
    grown = bytes;
  }
  http::StageTimes times;
  const auto answer = InferPicture(
      exchange, services_,
      {.model = job.model, .picture = job.picture, .parameters = job.parameters, .known = *known},
      own_slot_->task, times);
  services_.heavy.Leave(*own_slot_);
  const auto* prediction = std::get_if<Prediction>(&answer);
  if (prediction == nullptr) {
    count(/*failed=*/true, job.model.version);
    return true;
  }
  RouteCounts& counts = count(/*failed=*/false, prediction->version);
  counts.CountFindings(1, CountOf(prediction->result));
  counts.CountAgreement(Compare({job.answer, job.answered_by->description.class_names},
                                {prediction->result, prediction->model->description.class_names}));
  return true;
}

std::shared_ptr<const ShadowJob> ShadowJobOf(const http::Exchange& exchange,
                                             const http::Services& services,
                                             std::string_view picture,
                                             std::optional<std::size_t> number,
                                             const http::PredictParameters& parameters,
                                             const Prediction& prediction) {
  const bool may_have = services.shadows != nullptr && exchange.lead.is_route() &&
                        exchange.asked.variant == routes::Variant::kPrimary;
  if (!may_have) return nullptr;
  const std::string& route = exchange.lead.name;
  const std::string id = number ? fmt::format("{}/{}", exchange.id, *number) : exchange.id;
  auto model = routes::ShadowOf(route, exchange.lead.route(), id);
  if (!model) return nullptr;
  const fcgi::Request& request = exchange.request;
  auto job = std::make_shared<ShadowJob>(ShadowJob{.route = route,
                                                   .model = *std::move(model),
                                                   .request_id = exchange.id,
                                                   .picture = picture,
                                                   .memory = request.body_bytes,
                                                   .memory_bytes = request.body.size(),
                                                   .parameters = parameters,
                                                   .answer = prediction.result,
                                                   .answered_by = prediction.model,
                                                   .answered_at = Clock::now()});
  const bool is_in_body =
      request.body_bytes != nullptr && picture.data() >= request.body.data() &&
      picture.data() + picture.size() <= request.body.data() + request.body.size();
  if (!is_in_body) {  // it came in base64
    const auto copy = std::make_shared<const std::string>(picture);
    job->picture = *copy;
    job->memory_bytes = copy->size();
    job->memory = copy;
  }
  job->bytes = OwnBytes(*job);
  return job;
}

}  // namespace inferpool::predict
