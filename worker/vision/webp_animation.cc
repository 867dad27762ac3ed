#include "worker/vision/webp_animation.h"

#include <webp/decode.h>
#include <webp/demux.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <opencv2/core.hpp>

namespace inferpool::vision {
namespace {

struct Delete {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};
struct Release {
  void operator()(WebPIterator* frame) const { WebPDemuxReleaseIterator(frame); }
};

}  // namespace

absl::StatusOr<cv::Mat> DecodeWebpAnimation(std::string_view bytes, const Header& header) {
  const WebPData data{reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
  const std::unique_ptr<WebPDemuxer, Delete> demuxer(WebPDemux(&data));
  WebPIterator frame{};
  if (!demuxer || WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) {
    return absl::DataLossError("damaged WebP animation");
  }
  const std::unique_ptr<WebPIterator, Release> release(&frame);
  const cv::Size size(header.width, header.height);
  const cv::Rect place(frame.x_offset, frame.y_offset, frame.width, frame.height);
  if (place.empty() || (place & cv::Rect({0, 0}, size)) != place) {
    return absl::DataLossError("damaged WebP animation: its first frame does not fit in");
  }
  cv::Mat picture = cv::Mat::zeros(size, CV_8UC3);
  cv::Mat pixels = picture(place);
  const auto room = static_cast<std::size_t>(picture.dataend - pixels.data);
  if (WebPDecodeBGRInto(frame.fragment.bytes, frame.fragment.size, pixels.data, room,
                        static_cast<int>(picture.step)) == nullptr) {
    return absl::DataLossError("damaged WebP animation: its first frame cannot be decoded");
  }
  return picture;
}

}  // namespace inferpool::vision
