#include "shared/pictures/gif.h"

#include <fmt/format.h>
#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "shared/base/status.h"
#include "shared/pictures/too_late.h"

namespace inferpool::vision {
namespace {

struct Close {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using Gif = std::unique_ptr<GifFileType, Close>;

absl::Status Damaged(int error) {
  const char* text = GifErrorString(error);
  return absl::DataLossError(
      fmt::format("damaged GIF picture: {}", text != nullptr ? text : "unknown error"));
}

int Read(GifFileType* gif, GifByteType* to, int wanted) {
  auto& rest = *static_cast<std::string_view*>(gif->UserData);
  if (rest.empty() && wanted == 1) {
    // giflib wants the end of the data blocks behind the last pixel. It does not take an end for
    // pixels that are missing.
    *to = 0;
    return 1;
  }
  const std::size_t count = std::min(rest.size(), static_cast<std::size_t>(wanted));
  std::memcpy(to, rest.data(), count);
  rest.remove_prefix(count);
  return static_cast<int>(count);
}

// Reads on behind the first image's descriptor; `rest` is what giflib has not read yet.
absl::Status FindImage(GifFileType& gif, std::string_view& rest) {
  while (true) {
    rest.remove_prefix(std::min(rest.find_first_not_of('\0'), rest.size()));
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(&gif, &type) == GIF_ERROR) {
      return Damaged(gif.Error);
    }
    if (type == IMAGE_DESC_RECORD_TYPE) {
      return DGifGetImageDesc(&gif) == GIF_ERROR ? Damaged(gif.Error) : absl::OkStatus();
    }
    if (type != EXTENSION_RECORD_TYPE) {
      return absl::DataLossError("damaged GIF picture: no frame");
    }
    int code = 0;
    GifByteType* data = nullptr;
    int result = DGifGetExtension(&gif, &code, &data);
    while (result != GIF_ERROR && data != nullptr) {
      result = DGifGetExtensionNext(&gif, &data);
    }
    if (result == GIF_ERROR) {
      return Damaged(gif.Error);
    }
  }
}

cv::Vec3b Colour(const ColorMapObject* colours, int index) {
  if (colours == nullptr || index >= colours->ColorCount) {
    return {};
  }
  const GifColorType& colour = colours->Colors[index];
  return {colour.Blue, colour.Green, colour.Red};
}

// The rows in the order in which they are stored.
std::vector<int> RowOrder(int rows, bool interlaced) {
  struct Pass {
    int first;
    int step;
  };
  constexpr std::array<Pass, 4> kPasses{{{0, 8}, {4, 8}, {2, 4}, {1, 2}}};
  std::vector<int> order;
  for (const Pass& pass : kPasses) {
    for (int row = interlaced ? pass.first : static_cast<int>(order.size()); row < rows;
         row += interlaced ? pass.step : 1) {
      order.push_back(row);
    }
  }
  return order;
}

}  // namespace

absl::StatusOr<cv::Mat> DecodeGif(std::string_view bytes, const Header& header, Deadline deadline) {
  int error = 0;
  const Gif gif(DGifOpen(&bytes, Read, &error));
  if (!gif) {
    return error == D_GIF_ERR_NOT_ENOUGH_MEM
               ? absl::ResourceExhaustedError("no memory for a GIF decoder")
               : Damaged(error);
  }
  RETURN_IF_ERROR(FindImage(*gif, bytes));
  const GifImageDesc& image = gif->Image;
  const cv::Rect frame(image.Left, image.Top, image.Width, image.Height);
  const cv::Size size(header.width, header.height);
  if (frame.empty() || (frame & cv::Rect({0, 0}, size)) != frame) {
    return absl::DataLossError("damaged GIF picture: its first frame is not where it was");
  }
  const ColorMapObject* colours = image.ColorMap != nullptr ? image.ColorMap : gif->SColorMap;
  if (colours == nullptr) {
    return absl::DataLossError("damaged GIF picture: no colours");
  }

  std::array<cv::Vec3b, 256> palette;
  for (int i = 0; i < 256; ++i) {
    palette[static_cast<std::size_t>(i)] = Colour(colours, i);
  }
  cv::Mat picture(size, CV_8UC3, cv::Scalar(Colour(gif->SColorMap, gif->SBackGroundColor)));
  cv::Mat pixels = picture(frame);
  std::vector<GifPixelType> line(static_cast<std::size_t>(frame.width));
  for (const int row : RowOrder(frame.height, image.Interlace)) {
    if (deadline.Expired(Clock::now())) {
      return TooLate(Format::kGif);
    }
    if (DGifGetLine(gif.get(), line.data(), frame.width) == GIF_ERROR) {
      return Damaged(gif->Error);
    }
    std::transform(line.begin(), line.end(), pixels.ptr<cv::Vec3b>(row),
                   [&palette](GifPixelType index) { return palette[index]; });
  }
  return picture;
}

}  // namespace inferpool::vision
