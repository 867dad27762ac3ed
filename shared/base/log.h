// The process's log on stderr: one JSON object per line, written whole with one write().
//
//   log::Info("worker ready", {{"worker", 3}, {"took_ms", 12.5}});
//   {"time":"2026-11-21T02:10:00.123Z","level":"info","role":"worker 3","pid":71,"event":"worker
//   ready","worker":3,...}
//
// Logging never blocks. When stderr is a pipe that nobody reads or a file on a full disk, lines are
// dropped, and a later line says how many. A full disk may cut a line short; the process's next
// line begins on a new one. Nothing is formatted when the level is off. Thread safe after Init.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace inferpool::log {

enum class Level { kDebug, kInfo, kWarning, kError };

// The levels' names in the order of the levels, as ParseLevel reads and every line writes them.
inline constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info", "warning",
                                                                "error"};

// A named value of a log line. Text is borrowed: it must live until the call returns.
class Field {
 public:
  Field(std::string_view key, std::string_view value) : key_(key), value_(value) {}
  Field(std::string_view key, const char* value) : key_(key), value_(std::string_view(value)) {}
  Field(std::string_view key, const std::string& value)
      : key_(key), value_(std::string_view(value)) {}
  Field(std::string_view key, bool value) : key_(key), value_(value) {}
  Field(std::string_view key, std::integral auto value)
      : key_(key), value_(static_cast<std::int64_t>(value)) {}
  Field(std::string_view key, std::floating_point auto value)
      : key_(key), value_(static_cast<double>(value)) {}

  std::string_view key() const { return key_; }
  const auto& value() const { return value_; }

 private:
  std::string_view key_;
  std::variant<std::string_view, bool, std::int64_t, double> value_;
};

using Fields = std::initializer_list<Field>;

// Sets the lowest level that is written and the role that every line names. Call it at the start
// of the process and again in a forked child, before its threads start.
void Init(Level level, std::string_view role);

// Reads one of kLevelNames. Returns false, and leaves `level` as it is, for another word.
bool ParseLevel(std::string_view word, Level& level);

bool Enabled(Level level);

// Sets the lowest level that is written from now on, for all threads.
void SetLevel(Level level);

// Appends this process's stderr, and so the log, to the file `path` from now on, and makes the file
// when there is none. An empty path leaves stderr as it is. A symbolic link is not followed,
// because anybody who may write in the folder could redirect root's log with it. Returns false,
// with errno, when the file cannot be opened. Reopen opens the same path again, after the file was
// moved away. Other threads may log meanwhile.
bool OpenFile(const std::string& path);
bool Reopen();

void Debug(std::string_view event, Fields fields = {});
void Info(std::string_view event, Fields fields = {});
void Warning(std::string_view event, Fields fields = {});
void Error(std::string_view event, Fields fields = {});

}  // namespace inferpool::log
