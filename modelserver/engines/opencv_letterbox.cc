#include "modelserver/engines/opencv_letterbox.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <opencv2/imgproc.hpp>
#include <vector>

#include "modelserver/engines/opencv_guard.h"
#include "shared/pictures/letterbox_geometry.h"

namespace inferpool::modelserver {
namespace {

constexpr float kPadding = 114.0F / 255;
constexpr std::int64_t kMaxSide = 8192;
constexpr std::size_t kChannels = 3;

std::array<float, 256> ValueOfByte() {
  std::array<float, 256> table{};
  for (std::size_t byte = 0; byte < table.size(); ++byte) {
    table[byte] = static_cast<float>(byte) / 255;
  }
  return table;
}

class LetterboxEngine : public OneByOneEngine {
 public:
  LetterboxEngine(cv::Size size, bool batches, bool one_row)
      : size_(size), batches_(batches), one_row_(one_row) {}

 private:
  absl::Status RunOne(std::span<const TensorView> inputs, Outputs& outputs) override {
    if (!outputs.Wanted(0)) {
      return absl::OkStatus();
    }
    return GuardOpenCv([&] { return Put(inputs.front(), outputs); });
  }

  absl::Status Put(const TensorView& input, Outputs& outputs) const {
    const std::int64_t rows = batches_ ? input.shape.front() : 1;
    const std::span<const std::int64_t> picture_shape = input.shape.last(3);
    const std::int64_t height = picture_shape[0];
    const std::int64_t width = picture_shape[1];
    constexpr std::int64_t kMaxPictureSide = std::numeric_limits<int>::max() / 3;
    if (height < 1 || width < 1 || height > kMaxPictureSide || width > kMaxPictureSide) {
      return InvalidArgument("the picture has no pixels, or impossibly many");
    }
    std::vector<std::int64_t> shape{std::int64_t{kChannels}, size_.height, size_.width};
    if (batches_ || one_row_) {
      shape.insert(shape.begin(), rows);
    }
    const std::size_t values = kChannels * static_cast<std::size_t>(size_.area());
    ASSIGN_OR_RETURN(
        const auto memory,
        outputs.Add(0, shape, static_cast<std::size_t>(rows) * values * sizeof(float)));
    const std::size_t row_bytes = input.data.size() / static_cast<std::size_t>(rows);
    // Shared memory may lie anywhere; the reply's memory is aligned.
    const bool aligned = reinterpret_cast<std::uintptr_t>(memory.data()) % alignof(float) == 0;
    std::vector<float> buffer(aligned ? 0 : values);
    for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
      // cv::Mat has no view of constant pixels; they are only read.
      const cv::Mat picture(static_cast<int>(height), static_cast<int>(width), CV_8UC3,
                            const_cast<std::byte*>(input.data.data() + row * row_bytes));
      std::byte* to = memory.data() + row * values * sizeof(float);
      if (aligned) {
        Write(picture, {reinterpret_cast<float*>(to), values});
      } else {
        Write(picture, buffer);
        std::memcpy(to, buffer.data(), values * sizeof(float));
      }
    }
    return absl::OkStatus();
  }

  void Write(const cv::Mat& picture, std::span<float> planes) const {
    const cv::Rect content = vision::LetterboxContent(picture.size(), size_);
    cv::Mat resized;
    cv::resize(picture, resized, content.size(), 0, 0, cv::INTER_LINEAR);
    std::ranges::fill(planes, kPadding);
    const auto area = static_cast<std::size_t>(size_.area());
    for (int y = 0; y < resized.rows; ++y) {
      const unsigned char* from = resized.ptr(y);
      const std::size_t at =
          static_cast<std::size_t>(content.y + y) * static_cast<std::size_t>(size_.width) +
          static_cast<std::size_t>(content.x);
      for (std::size_t channel = 0; channel < kChannels; ++channel) {
        float* to = planes.data() + channel * area + at;
        for (std::size_t x = 0; x < static_cast<std::size_t>(resized.cols); ++x) {
          to[x] = value_of_byte_[from[kChannels * x + channel]];
        }
      }
    }
  }

  const cv::Size size_;
  const bool batches_;
  const bool one_row_;
  const std::array<float, 256> value_of_byte_ = ValueOfByte();
};

}  // namespace

absl::Status CompleteLetterbox(inference::ModelConfig& config) {
  const std::vector<std::int64_t> pixels{-1, -1, 3};
  if (config.input().empty()) {
    inference::ModelInput& input = *config.add_input();
    input.set_name("pixels");
    input.set_data_type(inference::TYPE_UINT8);
    input.mutable_dims()->Add(pixels.begin(), pixels.end());
  }
  const bool tensors = config.input_size() == 1 && config.output_size() == 1 &&
                       config.input(0).data_type() == inference::TYPE_UINT8 &&
                       std::ranges::equal(config.input(0).dims(), pixels) &&
                       config.output(0).data_type() == inference::TYPE_FP32;
  std::vector<std::int64_t> dims;
  if (tensors) {
    dims.assign(config.output(0).dims().begin(), config.output(0).dims().end());
  }
  if (dims.size() == 4 && dims.front() == 1 && config.max_batch_size() == 0) {
    dims.erase(dims.begin());
  }
  const auto side = [](std::int64_t size) { return size >= 1 && size <= kMaxSide; };
  if (dims.size() != 3 || dims[0] != 3 || !side(dims[1]) || !side(dims[2])) {
    return InvalidArgument(
        "backend 'opencv_letterbox' has one input, UINT8 [-1,-1,3], and one output, FP32 "
        "[3,height,width] with sides of 1 to 8192");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Engine>> MakeLetterboxEngine(const inference::ModelConfig& config) {
  const auto& dims = config.output(0).dims();
  const cv::Size size(static_cast<int>(dims[dims.size() - 1]),
                      static_cast<int>(dims[dims.size() - 2]));
  return std::make_unique<LetterboxEngine>(size, config.max_batch_size() > 0, dims.size() == 4);
}

}  // namespace inferpool::modelserver
