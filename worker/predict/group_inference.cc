#include "worker/predict/group_inference.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "worker/predict/picture.h"
#include "worker/predict/picture_plan.h"
#include "worker/predict/row_result.h"
#include "worker/vision/letterbox.h"

namespace inferpool::predict {
namespace {

using Answer = std::variant<Prediction, http::Problem>;

bool IsSame(const backend::Model& a, const backend::Model& b) {
  return &a == &b || (a.description == b.description && a.servers == b.servers);
}

class Group {
 public:
  Group(const http::Services& services, std::span<const GroupItem> items)
      : services_(services), items_(items), answers_(items.size()), plans_(items.size()) {}

  std::vector<Answer> Run() {
    for (std::size_t i = 0; i < items_.size(); ++i) Plan(i);
    std::size_t next = 0;
    while (next < shared_.size()) next += AskAbout(std::span(shared_).subspan(next));
    std::vector<Answer> answers;
    answers.reserve(items_.size());
    for (std::size_t i = 0; i < items_.size(); ++i) {
      answers.push_back(answers_[i] ? *std::move(answers_[i]) : Alone(items_[i]));
    }
    return answers;
  }

 private:
  Answer Alone(const GroupItem& item) const {
    return InferPicture(item.exchange, services_, item.question, item.task, item.times);
  }

  const vision::Placement& PlacementOf(std::size_t i) const {
    return plans_[i]->views.placements.front();
  }

  // The crash handler is told of the picture, and whether it has become one that nobody may touch.
  bool IsBlamed(std::size_t i) {
    const GroupItem& item = items_[i];
    auto problem = Blame(item.exchange, services_, plans_[i]->picture.digest,
                         Name(item.question.model), item.task);
    if (!problem) return false;
    answers_[i] = *std::move(problem);
    return true;
  }

  // Plans one, which shares calls when it is as the first that does.
  void Plan(std::size_t i) {
    const auto& [exchange, question, task, times] = items_[i];
    if (question.keep_pixels || exchange.limits.alone) return;
    bool turns_taken = false;
    auto planned = PlanPicture(exchange, services_, question, task, turns_taken);
    if (auto* failure = std::get_if<Failure>(&planned)) {
      // One that says something of the model is worth InferPicture's other try.
      if (failure->model == nullptr) answers_[i] = std::move(failure->problem);
      return;
    }
    auto& plan = std::get<PicturePlan>(planned);
    if (plan.model->plan->input_kind != vision::InputKind::kPixels ||
        plan.views.placements.size() != 1) {
      return;
    }
    if (!shared_.empty()) {
      const PicturePlan& first = *plans_[shared_.front()];
      if (!IsSame(*plan.model, *first.model) ||
          plan.views.placements.front().input != PlacementOf(shared_.front()).input) {
        return;
      }
    }
    plans_[i] = std::move(plan);
    shared_.push_back(i);
  }

  // Makes a call with as many of the first as fit in. Returns how many those were.
  std::size_t AskAbout(std::span<const std::size_t> left) {
    const std::size_t first = left.front();
    const std::shared_ptr<const backend::Model> model = plans_[first]->model;
    const cv::Size input = PlacementOf(first).input;
    auto rows =
        services_.inference.BeginRows(model, vision::RowShape(*model->plan, input, 0),
                                      vision::RowBytes(model->plan->input, input),
                                      static_cast<int>(left.size()), items_[first].exchange.limits);
    if (!rows.ok()) return left.size();  // alone, some may find memory
    std::vector<std::size_t> written;
    std::size_t tried = 0;
    while (tried < left.size() && static_cast<int>(written.size()) < rows->count()) {
      const std::size_t i = left[tried++];
      if (IsBlamed(i)) continue;
      if (Write(i, rows->bytes(static_cast<int>(written.size())))) written.push_back(i);
    }
    if (written.empty()) return tried;
    for (int row = static_cast<int>(written.size()); row < rows->count(); ++row) {
      std::ranges::fill(rows->bytes(row), std::byte{});  // of a picture that could not be decoded
    }
    const TimePoint asked = Clock::now();
    const auto found = rows->Infer();
    const auto took = std::chrono::duration_cast<http::StageTimes::Duration>(Clock::now() - asked);
    if (!found.ok()) return tried;
    for (std::size_t row = 0; row < written.size(); ++row) {
      const std::size_t i = written[row];
      items_[i].times.Add(Stage::kInfer, took);
      if (!IsBlamed(i)) Read(i, (*found)[row]);
    }
    return tried;
  }

  // Decodes one into its row. False: it has an answer, or goes alone.
  bool Write(std::size_t i, std::span<std::byte> to) {
    const GroupItem& item = items_[i];
    PicturePlan& plan = *plans_[i];
    Pixels pixels;
    if (const SharedPicture* const shared = item.question.shared; shared != nullptr) {
      Reduce(plan.picture, shared->reduction, plan.views);
      pixels.bgr = shared->bgr;
    } else {
      auto decoded = DecodePlanned(item.exchange, services_, plan, item.times);
      if (auto* problem = std::get_if<http::Problem>(&decoded)) {
        answers_[i] = std::move(*problem);
        return false;
      }
      pixels = std::get<Pixels>(std::move(decoded));
    }
    const http::StageTimer timer(item.times, Stage::kPreprocess);
    const absl::Status written =
        vision::WriteInput(pixels.bgr, PlacementOf(i), plan.model->plan->input, to);
    if (!written.ok()) answers_[i] = http::PictureProblem(written);
    return written.ok();
  }

  void Read(std::size_t i, const backend::RowAnswer& row) {
    const GroupItem& item = items_[i];
    PicturePlan& plan = *plans_[i];
    const http::StageTimer timer(item.times, Stage::kPostprocess);
    absl::StatusOr<vision::Result> result =
        ReadRow(*plan.model->plan, row, PlacementOf(i), plan.options);
    if (!result.ok()) return;  // alone, it is found out whether the model is another one by now
    std::vector<vision::Result> results;
    results.push_back(*std::move(result));
    answers_[i] = Prediction{.model = plan.model,
                             .version = row.answer->message().model_version(),
                             .picture = plan.picture.size,
                             .pixels = {},
                             .tiles = plan.views.tiles,
                             .result = MergeResults(plan.views, std::move(results), plan.options)};
  }

  const http::Services& services_;
  const std::span<const GroupItem> items_;
  std::vector<std::optional<Answer>> answers_;
  std::vector<std::optional<PicturePlan>> plans_;  // of those that share calls
  std::vector<std::size_t> shared_;
};

}  // namespace

std::vector<Answer> InferGroup(const http::Services& services, std::span<const GroupItem> items) {
  return Group(services, items).Run();
}

}  // namespace inferpool::predict
