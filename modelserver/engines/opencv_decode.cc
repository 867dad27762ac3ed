#include "modelserver/engines/opencv_decode.h"

#include <algorithm>
#include <opencv2/imgproc.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/config/config_file.h"
#include "modelserver/engines/opencv_guard.h"
#include "shared/pictures/decode.h"
#include "shared/pictures/header.h"

namespace inferpool::modelserver {
namespace {

constexpr std::size_t kPixelBytes = 3;

// The encoded pictures of a request, one a row.
absl::StatusOr<std::vector<std::string_view>> Pictures(const TensorView& input, std::size_t rows) {
  if (input.datatype == inference::TYPE_STRING) {
    return DecodeBytes(input.data, static_cast<std::int64_t>(rows));
  }
  const std::string_view all(reinterpret_cast<const char*>(input.data.data()), input.data.size());
  const std::size_t bytes = all.size() / rows;
  std::vector<std::string_view> pictures;
  for (std::size_t row = 0; row < rows; ++row) {
    pictures.push_back(all.substr(row * bytes, bytes));
  }
  return pictures;
}

// Upright, BGR. The client is to blame for whatever is wrong with it.
absl::StatusOr<cv::Mat> Decode(std::string_view picture, double max_pixels) {
  const absl::StatusOr<vision::Header> header = vision::ReadHeader(picture);
  if (!header.ok()) {
    return absl::InvalidArgumentError(header.status().message());
  }
  if (static_cast<double>(header->width) * header->height > max_pixels) {
    return InvalidArgument("the picture has {} x {} pixels, {:.0f} is the most", header->width,
                           header->height, max_pixels);
  }
  absl::StatusOr<cv::Mat> bgr = vision::Decode(picture, *header);
  if (!bgr.ok() && !absl::IsResourceExhausted(bgr.status())) {
    return absl::InvalidArgumentError(bgr.status().message());
  }
  return bgr;
}

class DecodeEngine : public OneByOneEngine {
 public:
  DecodeEngine(double max_pixels, bool batches) : max_pixels_(max_pixels), batches_(batches) {}

 private:
  absl::Status RunOne(std::span<const TensorView> inputs, Outputs& outputs) override {
    if (!outputs.Wanted(0)) {
      return absl::OkStatus();
    }
    return GuardOpenCv([&] {
      const std::size_t rows =
          batches_ ? static_cast<std::size_t>(inputs.front().shape.front()) : 1;
      ASSIGN_OR_RETURN(const auto pictures, Pictures(inputs.front(), rows));
      return Put(pictures, outputs);
    });
  }

  absl::Status Put(const std::vector<std::string_view>& pictures, Outputs& outputs) const {
    cv::Size size;
    std::byte* row = nullptr;
    for (const std::string_view picture : pictures) {
      ASSIGN_OR_RETURN(const cv::Mat bgr, Decode(picture, max_pixels_));
      const std::size_t bytes = bgr.total() * kPixelBytes;
      if (row == nullptr) {
        size = bgr.size();
        std::vector<std::int64_t> shape{size.height, size.width, std::int64_t{kPixelBytes}};
        if (batches_) {
          shape.insert(shape.begin(), static_cast<std::int64_t>(pictures.size()));
        }
        ASSIGN_OR_RETURN(const auto memory, outputs.Add(0, shape, bytes * pictures.size()));
        row = memory.data();
      } else if (bgr.size() != size) {
        return InvalidArgument("the pictures of a batch differ in their size: {} x {} and {} x {}",
                               size.width, size.height, bgr.cols, bgr.rows);
      }
      cv::Mat rgb(size, CV_8UC3, row);
      cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
      row += bytes;
    }
    return absl::OkStatus();
  }

  const double max_pixels_;
  const bool batches_;
};

}  // namespace

absl::Status CompleteDecode(inference::ModelConfig& config) {
  if (config.input().empty()) {
    inference::ModelInput& input = *config.add_input();
    input.set_name("image");
    input.set_data_type(inference::TYPE_STRING);
    input.add_dims(1);
  }
  const std::vector<std::int64_t> pixels{-1, -1, 3};
  if (config.output().empty()) {
    inference::ModelOutput& output = *config.add_output();
    output.set_name("pixels");
    output.set_data_type(inference::TYPE_UINT8);
    output.mutable_dims()->Add(pixels.begin(), pixels.end());
  }
  const inference::ModelInput& input = config.input(0);
  const bool text = input.data_type() == inference::TYPE_STRING;
  if (config.input_size() != 1 || config.output_size() != 1 ||
      (!text && input.data_type() != inference::TYPE_UINT8) || input.dims_size() != 1 ||
      input.dims(0) != (text ? 1 : -1) || config.output(0).data_type() != inference::TYPE_UINT8 ||
      !std::ranges::equal(config.output(0).dims(), pixels)) {
    return InvalidArgument(
        "backend 'opencv_decode' has one input, STRING [1] or UINT8 [-1], and one output, UINT8 "
        "[-1,-1,3]");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Engine>> MakeDecodeEngine(const inference::ModelConfig& config) {
  ASSIGN_OR_RETURN(const double max_pixels,
                   NumberParameter(config, "max_pixels", 1, 2e9, 50'000'000));
  return std::make_unique<DecodeEngine>(max_pixels, config.max_batch_size() > 0);
}

}  // namespace inferpool::modelserver
