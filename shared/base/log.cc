#include "shared/base/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <iterator>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

#include "shared/base/file_descriptor.h"
#include "shared/base/json_text.h"

namespace inferpool::log {
namespace {

spdlog::level::level_enum SpdlogLevel(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      break;
  }
  return spdlog::level::err;
}

// How long a line may wait for room on stderr.
constexpr int kPatienceMs = 100;

// stderr, a line with one write(), so that lines of several processes never mix. When stderr is a
// pipe or socket that nobody empties, or a file on a full disk, lines are dropped and counted: a
// pool must not stop for its log. Lines are dropped before a disk is so full that it would take a
// part of one. Should it (a limit of the file's size), the part stays, because other processes
// write behind it, and what follows dropped lines begins on a new line.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    if (dropped_ > 0) {
      line.push_back('\n');
      const std::string text =
          fmt::format("\"event\":\"log lines dropped\",\"count\":{}", dropped_);
      formatter_->format(spdlog::details::log_msg(message.time, {}, message.logger_name,
                                                  spdlog::level::warn, text),
                         line);
    }
    formatter_->format(message, line);
    // Once lines are being dropped there is no point in waiting for each.
    dropped_ = Write(line, dropped_ == 0 ? kPatienceMs : 0) ? 0 : dropped_ + 1;
  }
  void flush_() override {}

 private:
  bool Write(const spdlog::memory_buf_t& line, int patience_ms) {
    // A socket (journald's) knows a write that does not wait; it counts as ready for an ordinary
    // one only while it is nearly empty.
    ssize_t sent = send(STDERR_FILENO, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    const auto size = static_cast<ssize_t>(line.size());
    if (sent >= 0) return sent == size;
    const bool socket = errno != ENOTSOCK;
    if (!socket && !HasRoom()) return false;
    pollfd event{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    if (poll(&event, 1, patience_ms) <= 0 || (event.revents & POLLOUT) == 0) return false;
    sent = socket ? send(STDERR_FILENO, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                  : write(STDERR_FILENO, line.data(), line.size());
    return sent == size;
  }

  // Whether the disk has room for far more than a line: a line that has none for its end would be
  // cut. What is no file on a disk has room.
  static bool HasRoom() {
    constexpr std::uint64_t kReserve = std::uint64_t{64} << 10;
    struct statvfs disk {};
    if (fstatvfs(STDERR_FILENO, &disk) != 0 || disk.f_blocks == 0) return true;
    const std::uint64_t blocks = geteuid() == 0 ? disk.f_bfree : disk.f_bavail;
    return blocks * disk.f_frsize >= kReserve;
  }

  std::uint64_t dropped_ = 0;
};

spdlog::logger& Logger() {
  static spdlog::logger logger("inferpool", std::make_shared<StderrSink>());
  return logger;
}

void Write(Level level, std::string_view event, Fields fields) {
  if (!Enabled(level)) return;
  fmt::memory_buffer line;
  auto out = std::back_inserter(line);
  fmt::format_to(out, "\"event\":{}", QuotedJson(event));
  for (const Field& field : fields) {
    fmt::format_to(out, ",\"{}\":", field.key());
    std::visit(
        [&](auto value) {
          if constexpr (std::is_same_v<decltype(value), std::string_view>) {
            fmt::format_to(out, "{}", QuotedJson(value));
          } else if constexpr (std::is_same_v<decltype(value), double>) {
            if (std::isfinite(value)) {
              fmt::format_to(out, "{:.6g}", value);
            } else {
              fmt::format_to(out, "null");
            }
          } else {
            fmt::format_to(out, "{}", value);
          }
        },
        field.value());
  }
  Logger().log(SpdlogLevel(level), spdlog::string_view_t(line.data(), line.size()));
}

std::string& FilePath() {
  static std::string path;
  return path;
}

}  // namespace

bool OpenFile(const std::string& path) {
  FilePath() = path;
  return Reopen();
}

bool Reopen() {
  if (FilePath().empty()) return true;
  // dup2 changes what stderr is in one step: a line goes whole to the one file or to the other.
  const FileDescriptor file(
      open(FilePath().c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640));
  return file && dup2(file.get(), STDERR_FILENO) >= 0;
}

void Init(Level level, std::string_view role) {
  SetLevel(level);
  const std::string quoted = QuotedJson(role);
  std::string escaped;
  for (const char c : quoted) escaped += c == '%' ? std::string("%%") : std::string(1, c);
  Logger().set_pattern(
      fmt::format(
          "{{\"time\":\"%Y-%m-%dT%H:%M:%S.%eZ\",\"level\":\"%l\",\"role\":{},\"pid\":{},%v}}",
          escaped, getpid()),
      spdlog::pattern_time_type::utc);
}

bool ParseLevel(std::string_view word, Level& level) {
  const auto* name = std::ranges::find(kLevelNames, word);
  if (name == kLevelNames.end()) return false;
  level = static_cast<Level>(name - kLevelNames.begin());
  return true;
}

bool Enabled(Level level) {
  return Logger().should_log(SpdlogLevel(level));
}

void SetLevel(Level level) {
  Logger().set_level(SpdlogLevel(level));
}

void Debug(std::string_view event, Fields fields) {
  Write(Level::kDebug, event, fields);
}
void Info(std::string_view event, Fields fields) {
  Write(Level::kInfo, event, fields);
}
void Warning(std::string_view event, Fields fields) {
  Write(Level::kWarning, event, fields);
}
void Error(std::string_view event, Fields fields) {
  Write(Level::kError, event, fields);
}

}  // namespace inferpool::log
