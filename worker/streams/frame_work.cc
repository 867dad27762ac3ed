#include "worker/streams/frame_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <opencv2/core/mat.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include "fcgi/wire/request.h"
#include "shared/base/json_text.h"
#include "shared/pictures/decode.h"
#include "worker/analyze/pipeline.h"
#include "worker/http/parameters.h"
#include "worker/http/problem.h"
#include "worker/predict/answer.h"
#include "worker/predict/group_inference.h"
#include "worker/predict/picture.h"
#include "worker/predict/picture_cost.h"
#include "worker/predict/picture_inference.h"
#include "worker/predict/pipelines.h"
#include "worker/streams/handles.h"
#include "worker/streams/mode.h"
#include "worker/streams/snapshot.h"

namespace inferpool::streams {
namespace {

// All cameras are one client of the heavy work, so that HTTP finds its seats.
constexpr std::string_view kClient = "cameras";

// What is copied or converted of a frame in shared memory is heavy work above this.
constexpr std::size_t kHeavyBytes = std::size_t{20} << 20;

// What another try may change.
bool IsTransient(const http::Problem& problem) {
  constexpr int kTransient[] = {429, 499, 502, 503, 504};
  return std::ranges::find(kTransient, problem.status) != std::end(kTransient);
}

// Of one frame. `heavy`: of the thread.
class Work {
 public:
  Work(const Frame& frame, const http::Services& services, frames::Segments& segments,
       ThreadSlot& thread_slot, HeavySteps& heavy)
      : frame_(frame),
        services_(services),
        segments_(segments),
        request_{.method = "POST",
                 .path = {},
                 .query = frame.parameters,
                 .content_type = {},
                 .client = frame.camera,  // by which a route's canary has its share of the cameras
                 .headers = {},
                 .body_status = absl::OkStatus(),
                 .body = frame.picture,
                 .accepted = Clock::now(),
                 .departed = {},
                 .body_bytes = nullptr},
        exchange_{.request = request_,
                  .thread_slot = thread_slot,
                  .heavy = heavy,
                  .id = std::string(RequestNameOf(frame).view()),
                  .problem_form = http::ProblemForm::kProblemJson,
                  .limits = {.deadline = Deadline(
                                 request_.accepted +
                                 std::chrono::seconds(services.config.timeouts.request_s))}} {}

  // Does all that comes before the model. False: the outcome is known without it.
  bool Begin(Outcome& outcome) {
    if (frame_.max_age_ms > 0 && NowMs() - frame_.captured_ms > frame_.max_age_ms) {
      outcome.what = Outcome::What::kStale;
      return false;
    }
    if (frame_.picture.empty() && frame_.handle.empty()) {
      Fail(outcome, http::BadRequest("the entry has no picture"));
      return false;
    }
    if (!http::CanBeModelName(frame_.model)) {
      Fail(outcome, http::BackendProblem(absl::NotFoundError(""), frame_.model));
      return false;
    }
    auto parameters = http::ParseParameters(frame_.parameters, {}, services_.config.predict);
    if (const auto* problem = std::get_if<http::Problem>(&parameters)) {
      Fail(outcome, *problem);
      return false;
    }
    wanted_ = std::get<http::PredictParameters>(std::move(parameters));
    if (frame_.picture.empty() && !TakeFromMemory(outcome)) return false;
    if (frame_.gate != nullptr && NothingMoves() && !frame_.snapshot) {
      outcome.still = true;
      outcome.json = StillAnswer();
      if (!memory_.IsWhole()) outcome.what = Outcome::What::kOverwritten;
      return false;
    }
    pipeline_ = predict::FindPipeline(services_.config, frame_.model);
    backend::ModelVersion asked{frame_.model};
    if (pipeline_ == nullptr) {
      const auto model = predict::ModelFor(exchange_, services_, frame_.model);
      if (!model) {
        Fail(outcome, http::BackendProblem(absl::NotFoundError(""), frame_.model));
        return false;
      }
      asked = *model;
    }
    question_.emplace(predict::PictureQuestion{.model = std::move(asked),
                                               .picture = file(),
                                               .parameters = *wanted_,
                                               .keep_pixels = frame_.snapshot,
                                               .shared = pixels_ ? &*pixels_ : nullptr});
    return true;
  }

  // After Begin: what the model is to be asked, unless a pipeline is.
  predict::GroupItem item() {
    return {exchange_, *question_, exchange_.thread_slot.task, exchange_.times};
  }
  bool is_for_pipeline() const { return pipeline_ != nullptr; }
  std::variant<predict::Prediction, http::Problem> AskPipeline() {
    if (pixels_) {
      auto known = predict::FindModel(exchange_, services_, pipeline_->model);
      if (auto* problem = std::get_if<http::Problem>(&known)) return std::move(*problem);
      question_->known = std::get<std::shared_ptr<const backend::Model>>(std::move(known));
    }
    return analyze::AskPipeline(exchange_, services_, *pipeline_, *question_,
                                exchange_.thread_slot.task, exchange_.times);
  }
  // Counts an answer to item() by the route that the frame's model is, if it is one.
  void CountByRoute(const std::variant<predict::Prediction, http::Problem>& answer,
                    Clock::duration took) const {
    analyze::CountByRoute(exchange_, services_, frame_.model, question_->model, answer, took);
  }
  // No other frame of the thread may begin before this one is done: it has a heavy step.
  bool is_heavy() const { return !step_.empty(); }
  // Memory of its own, until it is done.
  std::size_t held_bytes() const {
    return memory_.file.size() + memory_.bgr.total() * memory_.bgr.elemSize();
  }

  // What became of that.
  void End(std::variant<predict::Prediction, http::Problem> predicted, Outcome& outcome) {
    const auto* problem = std::get_if<http::Problem>(&predicted);
    if (problem == nullptr && frame_.snapshot) {
      AddSnapshot(std::get<predict::Prediction>(predicted), outcome);
    }
    if (!memory_.IsWhole()) {
      outcome.what = Outcome::What::kOverwritten;
      outcome.snapshot.clear();
      return;
    }
    if (problem != nullptr) {
      Fail(outcome, *problem);
      return;
    }
    if (frame_.gate != nullptr) frame_.gate->Looked(frame_.id, Clock::now());
    const auto& prediction = std::get<predict::Prediction>(predicted);
    outcome.has_findings = predict::CountOf(prediction.result) > 0;
    outcome.batches = BatchesElsewhere(*prediction.model, services_.config);
    exchange_.SetTotalTime();
    outcome.json = predict::Complete(predict::Members(prediction, wanted_->normalized),
                                     exchange_.times, exchange_.id);
    outcome.json.pop_back();  // the newline
  }

 private:
  // Whether the frame shows what the one before it showed. What cannot be decoded is for the
  // model's way to say. A frame that is tried again was found worth a look.
  bool NothingMoves() {
    if (frame_.tries > 0) return false;
    cv::Size size;
    const absl::StatusOr<cv::Mat> grey = Grey(size);
    if (!grey.ok()) return false;
    // Boxes in pixels of a picture of another size are of no use.
    const std::string question =
        fmt::format("{}?{} {}x{}", frame_.model, frame_.parameters, size.width, size.height);
    return !frame_.gate->MustLook(*grey, question, Clock::now());
  }

  // The frame's brightness at the gate's scale. `size` becomes the upright picture's.
  absl::StatusOr<cv::Mat> Grey(cv::Size& size) {
    const http::StageTimer timer(exchange_.times, Stage::kDecode);
    if (pixels_) {
      size = pixels_->bgr.size();
      return vision::GreyOf(pixels_->bgr, MotionGate::kReduction);
    }
    const auto opened = predict::OpenPicture(exchange_, services_, file(), frame_.model,
                                             exchange_.thread_slot.task);
    const auto* const picture = std::get_if<predict::Picture>(&opened);
    if (picture == nullptr) return absl::InvalidArgumentError("it is no picture");
    size = picture->size;
    ASSIGN_OR_RETURN(const HeavyStep step,
                     predict::BeginStep(exchange_.heavy,
                                        predict::DecodeCost(picture->file, picture->header,
                                                            MotionGate::kReduction),
                                        exchange_.patience()));
    return vision::DecodeGrey(picture->file, picture->header, MotionGate::kReduction,
                              exchange_.limits.deadline);
  }

  std::string StillAnswer() {
    exchange_.SetTotalTime();
    std::string json = predict::Complete(
        fmt::format(R"("still":true,"since":{})", QuotedJson(frame_.gate->looked_at())),
        exchange_.times, exchange_.id);
    json.pop_back();  // the newline
    return json;
  }

  std::string_view file() const { return frame_.picture.empty() ? memory_.file : frame_.picture; }

  // The frame that the handle names. False when that is all: the outcome says why.
  bool TakeFromMemory(Outcome& outcome) {
    const absl::StatusOr<frames::Handle> handle = frames::ParseHandle(frame_.handle);
    if (!handle.ok()) {
      Fail(outcome, http::BadRequest(std::string(Message(handle.status()))));
      return false;
    }
    if (auto problem = TooLarge(*handle)) {
      Fail(outcome, *problem);
      return false;
    }
    const std::size_t copied = CopiedBytes(*handle);
    auto step =
        predict::BeginStep(exchange_.heavy, {copied, copied > kHeavyBytes}, exchange_.patience());
    if (!step.ok()) {
      Fail(outcome, http::HeavyProblem(step.status()));
      return false;
    }
    absl::StatusOr<SharedFrame> taken = TakeFrame(*handle, segments_, Clock::now());
    if (absl::IsNotFound(taken.status())) {
      outcome.what = Outcome::What::kOverwritten;
      return false;
    }
    if (!taken.ok()) {
      const std::string why(Message(taken.status()));
      Fail(outcome, absl::IsResourceExhausted(taken.status()) ? http::Overloaded(why)
                                                              : http::BadRequest(why));
      return false;
    }
    memory_ = *std::move(taken);
    if (memory_.bgr.empty()) return true;  // it is decoded as any other, with a step of its own
    step_ = *std::move(step);
    const cv::Size size = memory_.bgr.size();
    pixels_ = {.picture = {.file = {},
                           .digest = services_.quarantine.DigestOf(frame_.handle),
                           .header = {.format = vision::Format::kPng,
                                      .width = size.width,
                                      .height = size.height,
                                      .orientation = 1},
                           .size = size},
               .bgr = memory_.bgr};
    return true;
  }

  std::optional<http::Problem> TooLarge(const frames::Handle& handle) const {
    const std::uint64_t most = static_cast<std::uint64_t>(services_.config.limits.body_mb) << 20;
    const std::int64_t pixels = std::int64_t{handle.width} * handle.height;
    if (!frames::IsRaw(handle.format) && handle.bytes > most) {
      return http::BadRequest(
          fmt::format("the frame has {} bytes, allowed are {}", handle.bytes, most));
    }
    if (frames::IsRaw(handle.format) && pixels > services_.config.limits.pixels) {
      return http::PictureProblem(absl::OutOfRangeError(
          fmt::format("the frame has {} x {} = {} pixels, allowed are {}", handle.width,
                      handle.height, pixels, services_.config.limits.pixels)));
    }
    return std::nullopt;
  }

  // What may be drawn into: not the pixels in shared memory.
  cv::Mat PixelsToDrawInto(const predict::Prediction& prediction) const {
    if (!pixels_) return prediction.pixels.bgr;
    return pixels_->bgr.cols > kSnapshotWidth ? pixels_->bgr : pixels_->bgr.clone();
  }

  // A frame without one is as good for programs.
  void AddSnapshot(const predict::Prediction& prediction, Outcome& outcome) const {
    absl::StatusOr<std::string> snapshot =
        MakeSnapshot({.file = file(),
                      .pixels = PixelsToDrawInto(prediction),
                      .size = prediction.picture,
                      .result = prediction.result,
                      .class_names = prediction.model->description.class_names});
    if (snapshot.ok()) outcome.snapshot = *std::move(snapshot);
  }

  void Fail(Outcome& outcome, const http::Problem& problem) const {
    outcome.status = problem.status;
    outcome.json = fmt::format("{{{}}}", Members(problem, services_.config.nginx.base_path));
    if (problem.code == "quarantined") {
      outcome.what = Outcome::What::kDead;
      outcome.json = "this picture crashed a thread, or it hung, and is in quarantine";
    } else if (IsTransient(problem)) {
      outcome.what = Outcome::What::kRetry;
    }
  }

  const Frame& frame_;
  const http::Services& services_;
  frames::Segments& segments_;
  fcgi::Request request_;
  http::Exchange exchange_;
  std::optional<http::PredictParameters> wanted_;
  const Config::Step* pipeline_ = nullptr;  // that the frame's model is
  std::optional<predict::PictureQuestion> question_;
  SharedFrame memory_;
  std::optional<predict::SharedPicture> pixels_;  // of a raw frame, views of memory_
  HeavyStep step_;                                // of its conversion; ends first
};

// A thread's frames on their way: those that were begun are asked about together.
class Together {
 public:
  Together(const http::Services& services, std::vector<Outcome>& outcomes)
      : services_(services), outcomes_(outcomes) {}

  // `work` has begun; `i`: the number of its frame.
  void Add(std::unique_ptr<Work> work, std::size_t i) {
    if (work->is_for_pipeline()) {
      Ask();
      work->End(work->AskPipeline(), outcomes_[i]);
      return;
    }
    const bool is_heavy = work->is_heavy();
    held_bytes_ += work->held_bytes();
    works_.push_back(std::move(work));
    numbers_.push_back(i);
    if (is_heavy || held_bytes_ > kHeavyBytes) Ask();
  }

  void Ask() {
    std::vector<predict::GroupItem> items;
    for (const auto& work : works_) items.push_back(work->item());
    const TimePoint begun = Clock::now();
    auto predicted = predict::InferGroup(services_, items);
    const Clock::duration took = Clock::now() - begun;
    for (std::size_t k = 0; k < works_.size(); ++k) {
      works_[k]->CountByRoute(predicted[k], took);
      works_[k]->End(std::move(predicted[k]), outcomes_[numbers_[k]]);
    }
    works_.clear();
    numbers_.clear();
    held_bytes_ = 0;
  }

 private:
  const http::Services& services_;
  std::vector<Outcome>& outcomes_;
  std::vector<std::unique_ptr<Work>> works_;
  std::vector<std::size_t> numbers_;
  std::size_t held_bytes_ = 0;
};

void WorkOnAll(const std::vector<Frame>& frames, const http::Services& services,
               frames::Segments& segments, ThreadSlot& thread_slot,
               std::vector<Outcome>& outcomes) {
  HeavySteps heavy(services.heavy, thread_slot, HeavyClientOfKey(kClient));
  Together together(services, outcomes);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    auto work = std::make_unique<Work>(frames[i], services, segments, thread_slot, heavy);
    if (work->Begin(outcomes[i])) together.Add(std::move(work), i);
  }
  together.Ask();
}

}  // namespace

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

RequestName RequestNameOf(const Frame& frame) {
  return RequestName(fmt::format("{}@{}", frame.id, frame.camera));
}

std::vector<Outcome> WorkOn(std::vector<Frame> frames, const http::Services& services,
                            frames::Segments& segments, ThreadSlot& thread_slot) {
  std::vector<Outcome> outcomes(frames.size());
  const TimePoint begun = Clock::now();
  thread_slot.Begin(begun);
  try {
    WorkOnAll(frames, services, segments, thread_slot, outcomes);
  } catch (const std::exception& error) {  // out of memory, for one
    for (Outcome& outcome : outcomes) {
      outcome = {.what = Outcome::What::kRetry,
                 .status = 500,
                 .json = R"({"code":"internal","status":500})"};
    }
  }
  services.heavy.Leave(thread_slot);
  thread_slot.End();
  const std::int64_t now = NowMs();
  const auto worked =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun).count();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    Outcome& outcome = outcomes[i];
    outcome.answered_ms = now;
    outcome.worked_us = worked / static_cast<std::int64_t>(frames.size());
    if (outcome.what != Outcome::What::kRetry) frames[i].picture = std::string();
    outcome.frame = std::move(frames[i]);
  }
  return outcomes;
}

}  // namespace inferpool::streams
