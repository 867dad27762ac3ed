#include "worker/predict/model_rows.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include "worker/predict/picture.h"
#include "worker/predict/row_result.h"
#include "worker/vision/letterbox.h"

namespace inferpool::predict {
namespace {

// Writes one row's input.
absl::Status Write(const vision::ModelPlan& plan, const ModelRow& row, std::span<std::byte> to) {
  if (plan.input_kind == vision::InputKind::kPixels) {
    return vision::WriteInput(row.pixels, row.placement, plan.input, to);
  }
  if (plan.input_kind == vision::InputKind::kFile) {
    const auto length = static_cast<std::uint32_t>(row.file.size());
    std::memcpy(to.data(), &length, sizeof length);
    to = to.subspan(sizeof length);
  }
  std::memcpy(to.data(), row.file.data(), row.file.size());
  return absl::OkStatus();
}

std::size_t InputBytes(const vision::ModelPlan& plan, const ModelRow& row) {
  switch (plan.input_kind) {
    case vision::InputKind::kFile:
      return sizeof(std::uint32_t) + row.file.size();
    case vision::InputKind::kFileBytes:
      return row.file.size();
    case vision::InputKind::kPixels:
      break;
  }
  return vision::RowBytes(plan.input, row.placement.input);
}

// A server that decodes the picture itself calls a bad one an invalid argument.
http::Problem InferProblem(const vision::ModelPlan& plan, const absl::Status& status,
                           const std::string& model) {
  if (plan.input_kind != vision::InputKind::kPixels && absl::IsInvalidArgument(status)) {
    return http::PictureProblem(status);
  }
  return http::BackendProblem(status, model);
}

// The way of one question's rows.
class Work {
 public:
  Work(const http::Exchange& exchange, const http::Services& services, RowsQuestion& question,
       http::StageTimes& times)
      : exchange_(exchange),
        services_(services),
        question_(question),
        plan_(*question.model->plan),
        name_(question.model->description.name),
        times_(times) {}

  std::variant<RowResults, Failure> Run() {
    std::vector<ModelRow>& rows = question_.rows;
    std::vector<std::size_t> order(rows.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, {}, [&](std::size_t i) {
      const cv::Size input = rows[i].placement.input;
      return std::pair(input.width, input.height);
    });
    RowResults answer{.results = std::vector<vision::Result>(rows.size()), .version = ""};
    std::span<const std::size_t> left = order;
    while (!left.empty()) {
      if (auto problem = TooLate(exchange_.limits, name_)) return Failure{*std::move(problem)};
      auto done = AskNext(left, answer);
      if (auto* failure = std::get_if<Failure>(&done)) return std::move(*failure);
      left = left.subspan(std::get<std::size_t>(done));
    }
    return answer;
  }

 private:
  using Answers = absl::StatusOr<std::vector<backend::RowAnswer>>;

  // Asks about the first rows of `left`, which have one shape, and returns how many they were.
  std::variant<std::size_t, Failure> AskNext(std::span<const std::size_t> left,
                                             RowResults& answer) {
    const std::size_t same = std::min(CountOfOneShape(left), question_.most_rows);
    std::variant<Answers, Failure> asked =
        same == 1 && !exchange_.limits.alone
            ? AskAboutOne(left.front(), left.size() == 1)
            : AskAboutSeveral(left.first(same), left.size() == same);
    if (auto* failure = std::get_if<Failure>(&asked)) return std::move(*failure);
    const auto& answers = std::get<Answers>(asked);
    if (!answers.ok()) {
      http::Problem problem = InferProblem(plan_, answers.status(), name_);
      // A file that the server cannot decode says nothing of the model.
      if (problem.status == 422) return Failure{std::move(problem)};
      return Failure{std::move(problem), question_.model, answers.status()};
    }
    const http::StageTimer timer(times_, Stage::kPostprocess);
    for (std::size_t i = 0; i < answers->size(); ++i) {
      const backend::RowAnswer& row = (*answers)[i];
      const std::size_t at = left[i];
      absl::StatusOr<vision::Result> result =
          ReadRow(plan_, row, question_.rows[at].placement, question_.options);
      if (!result.ok()) {
        return Failure{http::PlanProblem(result.status(), name_), question_.model, result.status()};
      }
      answer.results[at] = *std::move(result);
      answer.version = row.answer->message().model_version();
    }
    return answers->size();
  }

  std::size_t CountOfOneShape(std::span<const std::size_t> left) const {
    if (plan_.input_kind != vision::InputKind::kPixels) return 1;
    const auto input = [&](std::size_t i) { return question_.rows[i].placement.input; };
    const auto other =
        std::ranges::find_if(left, [&](std::size_t i) { return input(i) != input(left.front()); });
    return static_cast<std::size_t>(other - left.begin());
  }

  std::vector<std::int64_t> ShapeOf(const ModelRow& row) const {
    return vision::RowShape(plan_, row.placement.input, row.file.size());
  }

  std::variant<Answers, Failure> AskAboutOne(std::size_t at, bool last) {
    const ModelRow& row = question_.rows[at];
    std::optional<http::StageTimer> preprocess(std::in_place, times_, Stage::kPreprocess);
    auto place = services_.inference.Begin(question_.model, ShapeOf(row), InputBytes(plan_, row),
                                           exchange_.limits);
    if (!place.ok()) return Failure{http::Overloaded(std::string(Message(place.status())))};
    const absl::Status written = Write(plan_, row, place->bytes());
    if (!written.ok()) return Failure{http::PictureProblem(written)};
    Written(last);
    preprocess.reset();
    const http::StageTimer timer(times_, Stage::kInfer);
    absl::StatusOr<backend::RowAnswer> answer = place->Infer();
    RETURN_IF_ERROR(answer.status());
    return Answers(std::vector{*std::move(answer)});
  }

  std::variant<Answers, Failure> AskAboutSeveral(std::span<const std::size_t> same, bool last) {
    const ModelRow& first = question_.rows[same.front()];
    std::optional<http::StageTimer> preprocess(std::in_place, times_, Stage::kPreprocess);
    auto places =
        services_.inference.BeginRows(question_.model, ShapeOf(first), InputBytes(plan_, first),
                                      static_cast<int>(same.size()), exchange_.limits);
    if (!places.ok()) return Failure{http::Overloaded(std::string(Message(places.status())))};
    for (int i = 0; i < places->count(); ++i) {
      const ModelRow& row = question_.rows[same[static_cast<std::size_t>(i)]];
      const absl::Status written = Write(plan_, row, places->bytes(i));
      if (!written.ok()) return Failure{http::PictureProblem(written)};
    }
    Written(last && static_cast<std::size_t>(places->count()) == same.size());
    preprocess.reset();
    const http::StageTimer timer(times_, Stage::kInfer);
    return places->Infer();
  }

  // The next thing is to wait for the model. After the last rows nothing here needs the pixels.
  void Written(bool last) {
    HeavyStep* const step = question_.step;
    const cv::Mat& pixels = question_.rows.front().pixels;
    if (step != nullptr) step->Keep(pixels.total() * pixels.elemSize());
    if (!last) return;
    if (step != nullptr && !question_.keep_pixels) *step = HeavyStep();
    for (ModelRow& row : question_.rows) row.pixels.release();
  }

  const http::Exchange& exchange_;
  const http::Services& services_;
  RowsQuestion& question_;
  const vision::ModelPlan& plan_;
  const std::string& name_;
  http::StageTimes& times_;
};

}  // namespace

std::variant<RowResults, Failure> InferRows(const http::Exchange& exchange,
                                            const http::Services& services, RowsQuestion question,
                                            http::StageTimes& times) {
  return Work(exchange, services, question, times).Run();
}

}  // namespace inferpool::predict
