#include "shared/pictures/gif.h"

#include <fmt/format.h>
#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "shared/base/status.h"
#include "shared/pictures/gif_blocks.h"
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

// The file as giflib is to read it: if it ends within a data block, that block's length is what is
// there of it.
class Source {
 public:
  explicit Source(std::string_view bytes) : rest_(bytes) {
    GifBlocks blocks(bytes);
    std::optional<GifBlock> block = blocks.Next();
    while (block && block->kind == '!') block = blocks.Next();
    if (!block || !block->cut_at) return;
    rest_ = bytes.substr(0, *block->cut_at);
    last_block_ = bytes.substr(*block->cut_at + 1);
    last_length_ = static_cast<GifByteType>(last_block_.size());
    has_last_block_ = true;
  }

  std::size_t Read(GifByteType* to, std::size_t wanted) {
    if (rest_.empty() && has_last_block_ && wanted > 0) {
      has_last_block_ = false;
      rest_ = last_block_;
      *to = last_length_;
      return 1 + Read(to + 1, wanted - 1);
    }
    const std::size_t count = std::min(rest_.size(), wanted);
    std::copy_n(rest_.begin(), count, to);
    rest_.remove_prefix(count);
    return count == wanted || !has_last_block_ ? count : count + Read(to + count, wanted - count);
  }

  void SkipZeros() { rest_.remove_prefix(std::min(rest_.find_first_not_of('\0'), rest_.size())); }

  bool AtEnd() const { return rest_.empty() && !has_last_block_; }

 private:
  std::string_view rest_;
  std::string_view last_block_;
  GifByteType last_length_ = 0;
  bool has_last_block_ = false;  // follows `rest_`
};

int Read(GifFileType* gif, GifByteType* to, int wanted) {
  auto& source = *static_cast<Source*>(gif->UserData);
  if (source.AtEnd() && wanted == 1) {
    // giflib wants the end of the data blocks behind the last pixel. It does not take an end for
    // pixels that are missing.
    *to = 0;
    return 1;
  }
  return static_cast<int>(source.Read(to, static_cast<std::size_t>(wanted)));
}

// Reads on behind the first image's descriptor.
absl::Status FindImage(GifFileType& gif, Source& source) {
  while (true) {
    source.SkipZeros();
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
  Source source(bytes);
  const Gif gif(DGifOpen(&source, Read, &error));
  if (!gif) {
    return error == D_GIF_ERR_NOT_ENOUGH_MEM
               ? absl::ResourceExhaustedError("no memory for a GIF decoder")
               : Damaged(error);
  }
  RETURN_IF_ERROR(FindImage(*gif, source));
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
