// Pictures out of what FFmpeg reads: cameras on the network, devices, recordings, pictures.
#pragma once

#include <memory>
#include <string>

#include "ops/feeder/ffmpeg.h"
#include "ops/feeder/jpeg_writer.h"
#include "ops/feeder/picture_source.h"

namespace inferpool::feeder {

class MediaSource final : public PictureSource {
 public:
  // Opens what `address` names and finds its video. `settings` and `watchdog` must live as long as
  // the source. UNAVAILABLE: it is away; any other error: it cannot be read.
  static absl::StatusOr<std::unique_ptr<MediaSource>> Open(const std::string& address,
                                                           const SourceSettings& settings,
                                                           Watchdog& watchdog);
  ~MediaSource() override;

  bool live() const override { return live_; }

  // JPEGs that need no scaling go on unchanged, unless pixels are asked for; all others are
  // decoded, scaled and written anew. A picture that the decoder found damaged is left out.
  absl::StatusOr<bool> Read(const Wanted& wanted, std::string& picture) override;
  PictureSize raw_size() const override { return raw_ ? writer_.size() : PictureSize(); }

 private:
  MediaSource(const SourceSettings& settings, Watchdog& watchdog);

  absl::Status OpenInput(const std::string& address);
  absl::Status OpenDecoder();
  // The next piece of the video into `packet_`; false at the end.
  absl::StatusOr<bool> ReadPacket();
  absl::StatusOr<bool> ReadFrame();  // the next decoded picture, if there is one
  absl::Status Failed(int error) const;
  std::optional<MediaTime> TimeOf(std::int64_t stamp) const;

  Watchdog& watchdog_;
  JpegWriter writer_;
  const int most_width_;
  const bool raw_;  // pixels and no files
  Ffmpeg<AVFormatContext> input_;
  Ffmpeg<AVCodecContext> decoder_;
  Ffmpeg<AVPacket> packet_;
  Ffmpeg<AVFrame> frame_;
  AVStream* stream_ = nullptr;  // the video
  bool live_ = false;
  bool is_device_ = false;
  bool unchanged_ = false;    // packets are JPEGs that go on as they are
  bool is_untimed_ = false;   // its times say nothing about its pictures
  bool independent_ = false;  // each picture is decoded without the others
  bool at_end_ = false;       // nothing more comes in, the decoder may have some
};

}  // namespace inferpool::feeder
