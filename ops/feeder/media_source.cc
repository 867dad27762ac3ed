#include "ops/feeder/media_source.h"

#include <dlfcn.h>

extern "C" {
#include <libavcodec/codec_desc.h>
#include <libavutil/dict.h>
}

#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include "ops/feeder/addresses.h"

namespace inferpool::feeder {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kMostPixels = 64 << 20;
// A camera sends a whole picture only every few seconds, and nothing can be decoded before.
constexpr int kPicturePatience = 3;
constexpr milliseconds kDevicePause{5};

int Interrupts(void* watchdog) {
  return static_cast<const Watchdog*>(watchdog)->Bites() ? 1 : 0;
}

// FFmpeg's options, by name.
class Options {
 public:
  Options() = default;
  ~Options() { av_dict_free(&options_); }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  void Set(const char* name, const char* value) { av_dict_set(&options_, name, value, 0); }
  AVDictionary** get() { return &options_; }

 private:
  AVDictionary* options_ = nullptr;
};

// What an address may make FFmpeg open: a playlist on the network must not lead to our files.
const char* ProtocolsOf(AddressKind kind, std::string_view address) {
  if (kind != AddressKind::kUrl || address.starts_with("file:")) return "file";
  if (address.starts_with("rtsp")) return "rtsp,rtsps,rtp,tcp,udp,tls";
  return "http,https,hls,httpproxy,crypto,data,rtmp,rtmps,rtmpt,rtp,srt,srtp,tcp,tls,udp";
}

// The devices' part of FFmpeg has many dependencies, of windows and sound; it is loaded for those
// who need it.
const AVInputFormat* DeviceFormat() {
  static const AVInputFormat* const format = []() -> const AVInputFormat* {
    const std::string name = fmt::format("libavdevice.so.{}", LIBAVFORMAT_VERSION_MAJOR);
    void* library = dlopen(name.c_str(), RTLD_NOW);
    if (library == nullptr) return nullptr;
    if (void* symbol = dlsym(library, "avdevice_register_all"); symbol != nullptr) {
      reinterpret_cast<void (*)()>(symbol)();
    }
    return av_find_input_format("v4l2");
  }();
  return format;
}

bool IsJpeg(const AVPacket& packet) {
  return packet.size > 4 && packet.data[0] == 0xff && packet.data[1] == 0xd8;
}

bool IsDamaged(const AVFrame& frame) {
  return (frame.flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame.decode_error_flags != 0 ||
         frame.width <= 0 || frame.height <= 0;
}

}  // namespace

MediaSource::MediaSource(const SourceSettings& settings, Watchdog& watchdog)
    : watchdog_(watchdog),
      writer_(settings.width, settings.quality),
      most_width_(settings.width),
      raw_(settings.raw()),
      packet_(av_packet_alloc()),
      frame_(av_frame_alloc()) {}

MediaSource::~MediaSource() {
  // A camera that is not told that we leave keeps our place for a while, and may have few.
  watchdog_.BeginGoodbye();
}

absl::StatusOr<std::unique_ptr<MediaSource>> MediaSource::Open(const std::string& address,
                                                               const SourceSettings& settings,
                                                               Watchdog& watchdog) {
  std::unique_ptr<MediaSource> source(new MediaSource(settings, watchdog));
  RETURN_IF_ERROR(source->OpenInput(address));
  RETURN_IF_ERROR(source->OpenDecoder());
  return source;
}

absl::Status MediaSource::OpenInput(const std::string& address) {
  const AddressKind kind = KindOf(address);
  const AVInputFormat* format = nullptr;
  is_device_ = kind == AddressKind::kDevice;
  if (is_device_) {
    format = DeviceFormat();
    if (format == nullptr) {
      return absl::FailedPreconditionError(
          "devices need Debian's package libavdevice59: install it");
    }
  }
  AVFormatContext* context = avformat_alloc_context();
  context->interrupt_callback = {.callback = Interrupts, .opaque = &watchdog_};
  if (is_device_) context->flags |= AVFMT_FLAG_NONBLOCK;
  Options options;
  if (!is_device_) options.Set("protocol_whitelist", ProtocolsOf(kind, address));
  const bool is_rtsp = address.starts_with("rtsp");
  if (is_rtsp) {
    options.Set("rtsp_transport", "tcp");
    options.Set("allowed_media_types", "video");
  }
  if (kind == AddressKind::kUrl) {
    // What is read to learn about the video is old when we have learnt it.
    options.Set("fpsprobesize", "0");
    options.Set("analyzeduration", "2000000");
  }
  watchdog_.Begin();
  int error = avformat_open_input(&context, address.c_str(), format, options.get());
  if (error < 0) return Failed(error);  // and it has freed the context
  input_.reset(context);
  if (!is_device_) {
    watchdog_.Begin();
    error = avformat_find_stream_info(context, nullptr);
    if (error < 0) return Failed(error);
  }
  const int video = av_find_best_stream(context, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (video < 0) return absl::FailedPreconditionError("there is no video in it");
  for (unsigned i = 0; i < context->nb_streams; ++i) {
    if (i != static_cast<unsigned>(video)) context->streams[i]->discard = AVDISCARD_ALL;
  }
  stream_ = context->streams[video];
  // A video on a web server is a recording, unless nobody knows where it ends.
  live_ = is_device_ || is_rtsp || (kind == AddressKind::kUrl && context->duration <= 0);
  // JPEGs one after the other over HTTP have no times, and FFmpeg makes some up.
  is_untimed_ =
      live_ && std::string_view(context->iformat->name).find("jpeg") != std::string_view::npos;
  return absl::OkStatus();
}

absl::Status MediaSource::OpenDecoder() {
  const AVCodecParameters& parameters = *stream_->codecpar;
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get(parameters.codec_id);
  independent_ = descriptor != nullptr && (descriptor->props & AV_CODEC_PROP_INTRA_ONLY) != 0;
  unchanged_ = !raw_ && parameters.codec_id == AV_CODEC_ID_MJPEG &&
               (most_width_ == 0 || (parameters.width > 0 && parameters.width <= most_width_));
  if (unchanged_) return absl::OkStatus();
  const AVCodec* codec = avcodec_find_decoder(parameters.codec_id);
  if (codec == nullptr) {
    return absl::FailedPreconditionError(fmt::format("FFmpeg has no decoder for its video ({})",
                                                     avcodec_get_name(parameters.codec_id)));
  }
  decoder_.reset(avcodec_alloc_context3(codec));
  int error = avcodec_parameters_to_context(decoder_.get(), &parameters);
  if (error < 0) return Failed(error);
  decoder_->pkt_timebase = stream_->time_base;
  decoder_->thread_count = 1;  // there are many sources
  decoder_->max_pixels = kMostPixels;
  error = avcodec_open2(decoder_.get(), codec, nullptr);
  return error < 0 ? Failed(error) : absl::OkStatus();
}

absl::Status MediaSource::Failed(int error) const {
  if (watchdog_.stopped()) return absl::CancelledError("we were asked to end");
  if (error == AVERROR_EXIT) {
    return absl::UnavailableError(fmt::format(
        "nothing came for {} s", std::chrono::duration<double>(watchdog_.patience()).count()));
  }
  if (error == AVERROR_HTTP_UNAUTHORIZED || error == AVERROR_HTTP_FORBIDDEN) {
    return absl::UnavailableError(FfmpegWords(error) +
                                  ": check the user and the password in its URL");
  }
  return absl::UnavailableError(FfmpegWords(error));
}

std::optional<MediaTime> MediaSource::TimeOf(std::int64_t stamp) const {
  if (is_untimed_) return Clock::now().time_since_epoch();
  if (stamp == AV_NOPTS_VALUE) return std::nullopt;
  return MediaTime(av_rescale_q(stamp, stream_->time_base, {1, 1'000'000'000}));
}

absl::StatusOr<bool> MediaSource::ReadPacket() {
  for (;;) {
    av_packet_unref(packet_.get());
    watchdog_.Begin();
    int error = av_read_frame(input_.get(), packet_.get());
    while (error == AVERROR(EAGAIN) && !watchdog_.Bites()) {
      watchdog_.SleepUntil(Clock::now() + kDevicePause);
      error = av_read_frame(input_.get(), packet_.get());
    }
    if (error == AVERROR(EAGAIN)) error = AVERROR_EXIT;
    if (error == AVERROR_EOF) return false;
    if (error < 0) return Failed(error);
    if (packet_->stream_index == stream_->index && packet_->size > 0) return true;
    if (watchdog_.Bites()) return Failed(AVERROR_EXIT);
  }
}

absl::StatusOr<bool> MediaSource::ReadFrame() {
  const int error = avcodec_receive_frame(decoder_.get(), frame_.get());
  if (error == 0) return true;
  if (error == AVERROR(ENOMEM)) return absl::ResourceExhaustedError(FfmpegWords(error));
  return false;
}

absl::StatusOr<bool> MediaSource::Read(const Wanted& wanted, std::string& picture) {
  TimePoint latest = Clock::now();  // when there was a picture
  bool is_wanted = false;           // what is in the decoder, of pictures that are independent
  for (;;) {
    if (decoder_ != nullptr) {
      ASSIGN_OR_RETURN(const bool has_frame, ReadFrame());
      if (has_frame) {
        latest = Clock::now();
        if (!IsDamaged(*frame_) && (independent_ ? std::exchange(is_wanted, false)
                                                 : wanted(TimeOf(frame_->best_effort_timestamp)))) {
          RETURN_IF_ERROR(raw_ ? writer_.WritePixels(*frame_, picture)
                               : writer_.Write(*frame_, picture));
          return true;
        }
        continue;
      }
      if (at_end_) return false;
    }
    if (Clock::now() > latest + kPicturePatience * watchdog_.patience()) {
      return absl::UnavailableError("its data hold no picture that can be decoded");
    }
    ASSIGN_OR_RETURN(const bool has_packet, ReadPacket());
    if (!has_packet) {
      at_end_ = true;
      if (decoder_ == nullptr) return false;
      avcodec_send_packet(decoder_.get(), nullptr);
      continue;
    }
    if (independent_) {
      const bool is_whole = (packet_->flags & AV_PKT_FLAG_CORRUPT) == 0;
      if (unchanged_ && is_whole && IsJpeg(*packet_)) latest = Clock::now();
      const std::int64_t stamp = packet_->pts != AV_NOPTS_VALUE ? packet_->pts : packet_->dts;
      if (!is_whole || !wanted(TimeOf(stamp))) continue;
      is_wanted = true;
    }
    if (unchanged_) {
      if (!IsJpeg(*packet_)) continue;
      picture.assign(reinterpret_cast<const char*>(packet_->data),
                     static_cast<std::size_t>(packet_->size));
      return true;
    }
    // What cannot be decoded is left out; the next whole picture mends it.
    avcodec_send_packet(decoder_.get(), packet_.get());
  }
}

}  // namespace inferpool::feeder
