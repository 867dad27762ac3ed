// The process's log: one JSON object a line on stderr, written whole with one write().
//
//   log::Info("worker ready", {{"worker", 3}, {"took_ms", 12.5}});
//   {"time":"2026-11-21T02:10:00.123Z","level":"info","role":"worker 3","pid":71,"event":"worker
//   ready","worker":3,...}
//
// Never waits: when stderr is a pipe that nobody empties, or a file on a full disk, lines are
// dropped, and how many is said later. A full disk may cut one short; the process's next one begins
// on a new line. Nothing is formatted when the level is off. Thread
// safe after Init.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace inferpool::log {

enum class Level { kDebug, kInfo, kWarning, kError };

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

// Sets the least level that is written and the role that every line names. Call it at the start
// of the process and again in a forked child, before its threads start.
void Init(Level level, std::string_view role);

// debug, info, warning, error; false for another word.
bool ParseLevel(std::string_view word, Level& level);

bool Enabled(Level level);

// The least level that is written, from now on; for all threads.
void SetLevel(Level level);

// Sends this process's stderr, the log included, to the end of `path`, which is made when it is not
// there; an empty path leaves stderr as it is. A symbolic link is not followed: whoever may write
// in the folder could lead root's log elsewhere. False, with errno, when it cannot be opened.
// Reopen does it again with the same path, after the file was moved away. Both may be called while
// others log.
bool OpenFile(const std::string& path);
bool Reopen();

void Debug(std::string_view event, Fields fields = {});
void Info(std::string_view event, Fields fields = {});
void Warning(std::string_view event, Fields fields = {});
void Error(std::string_view event, Fields fields = {});

}  // namespace inferpool::log
