#include "shared/base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <json/json.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "shared/base/file_descriptor.h"
#include "tests/unit/shared/base/temporary_folder.h"

namespace inferpool::log {
namespace {

// Takes what the process writes to stderr: one entry a write(), because the socket keeps messages
// apart.
class Captured {
 public:
  Captured() {
    std::array<int, 2> pair{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) abort();
    ours_ = FileDescriptor(pair[0]);
    before_ = FileDescriptor(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
    dup2(pair[1], STDERR_FILENO);
    close(pair[1]);
  }
  ~Captured() { Restore(); }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;

  // All that was written until now.
  std::vector<std::string> Writes() {
    std::vector<std::string> writes;
    std::string message(256 * 1024, '\0');
    ssize_t got = 0;
    while ((got = recv(ours_.get(), message.data(), message.size(), MSG_DONTWAIT)) > 0) {
      writes.push_back(message.substr(0, static_cast<std::size_t>(got)));
    }
    return writes;
  }

 private:
  void Restore() {
    if (before_) dup2(before_.get(), STDERR_FILENO);
    before_.Reset();
  }

  FileDescriptor ours_;
  FileDescriptor before_;
};

// One line of JSON, with nothing around it; null when it is none.
Json::Value ParseLine(const std::string& write) {
  EXPECT_FALSE(write.empty());
  if (write.empty()) return {};
  EXPECT_EQ(write.find('\n'), write.size() - 1) << "not exactly one line: " << write;
  Json::CharReaderBuilder builder;
  Json::CharReaderBuilder::strictMode(&builder.settings_);
  const std::unique_ptr<Json::CharReader> reader(builder.newCharReader());
  Json::Value value;
  std::string errors;
  EXPECT_TRUE(reader->parse(write.data(), write.data() + write.size(), &value, &errors))
      << errors << " in " << write;
  return value;
}

// What Info writes for these fields.
Json::Value Logged(std::string_view event, Fields fields) {
  Captured captured;
  Info(event, fields);
  const auto writes = captured.Writes();
  EXPECT_EQ(writes.size(), 1U);
  return writes.empty() ? Json::Value() : ParseLine(writes[0]);
}

class LogTest : public testing::Test {
 protected:
  void SetUp() override { Init(Level::kDebug, "test"); }
};

TEST_F(LogTest, ALineNamesTimeLevelRoleProcessAndEvent) {
  Init(Level::kInfo, "worker 3");
  const Json::Value line = Logged("worker ready", {{"took_ms", 12.5}});
  EXPECT_TRUE(std::regex_match(line["time"].asString(),
                               std::regex(R"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ)")))
      << line["time"];
  EXPECT_EQ(line["level"], "info");
  EXPECT_EQ(line["role"], "worker 3");
  EXPECT_EQ(line["pid"].asInt(), getpid());
  EXPECT_EQ(line["event"], "worker ready");
  EXPECT_EQ(line["took_ms"].asDouble(), 12.5);
}

TEST_F(LogTest, TheTimeIsUtc) {
  const std::time_t before = std::time(nullptr);
  const std::string time = Logged("now", {})["time"].asString();
  std::tm utc{};
  ASSERT_NE(strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &utc), nullptr);
  EXPECT_GE(timegm(&utc), before);
  EXPECT_LE(timegm(&utc), before + 5);
}

TEST_F(LogTest, EveryLevelHasItsName) {
  Captured captured;
  Debug("d");
  Info("i");
  Warning("w");
  Error("e");
  std::vector<std::string> levels;
  for (const std::string& write : captured.Writes()) {
    levels.push_back(ParseLine(write)["level"].asString());
  }
  EXPECT_EQ(levels, (std::vector<std::string>{"debug", "info", "warning", "error"}));
}

TEST_F(LogTest, TextsSurviveWhateverTheyHold) {
  for (const std::string text :
       {"", "plain", "\"quoted\"", "back\\slash", "\\\"", "line\nbreak\r\n", "tab\t",
        "\x01\x1f\x7f", "{} {0} {:>9}", "%v %s %n %% %", "</script>", "caf\xc3\xa9", "\xe2\x82\xac",
        "\xf0\x9f\x98\x80", "', \"role\": \"master"}) {
    const Json::Value line = Logged(text, {{"field", text}, {"c_text", text.c_str()}});
    EXPECT_EQ(line["event"], text);
    EXPECT_EQ(line["field"], text);
    EXPECT_EQ(line["c_text"], text);
    EXPECT_EQ(line["role"], "test");
  }
}

TEST_F(LogTest, TextThatIsNoUtf8IsStillOneLineOfJson) {
  for (const std::string text :
       {"\xff\xfe", "\x80", "cut \xe2\x82", "cut \xf0\x9f\x98", "overlong \xc0\xaf",
        "surrogate \xed\xa0\x80", "mixed \xc3( \xa0\xa1 ok", "\xf8\x88\x80\x80\x80"}) {
    Captured captured;
    Info(text, {{"field", text}});
    const auto writes = captured.Writes();
    ASSERT_EQ(writes.size(), 1U);
    const Json::Value line = ParseLine(writes[0]);
    EXPECT_TRUE(line["field"].isString());
    EXPECT_EQ(line["level"], "info");
    for (const char c : writes[0].substr(0, writes[0].size() - 1)) {
      ASSERT_TRUE(c >= ' ' && c < 0x7f) << "a byte that is no UTF-8 went through: " << writes[0];
    }
  }
}

TEST_F(LogTest, AZeroByteDoesNotCutTheText) {
  using std::string_literals::operator""s;
  const Json::Value line = Logged("an event", {{"field", "before\0after"s}, {"next", 1}});
  EXPECT_EQ(line["field"].asString(), "before\0after"s);
  EXPECT_EQ(line["next"], 1);
}

TEST_F(LogTest, TheRoleMayHoldAnything) {
  for (const std::string role : {"100% %v %l", "a \"quoted\" role", "%", "back\\slash", "{}", ""}) {
    Init(Level::kInfo, role);
    const Json::Value line = Logged("event", {});
    EXPECT_EQ(line["role"], role);
    EXPECT_EQ(line["event"], "event");
  }
}

TEST_F(LogTest, NumbersKeepTheirValue) {
  const Json::Value line = Logged("numbers", {{"least", std::numeric_limits<std::int64_t>::min()},
                                              {"most", std::numeric_limits<std::int64_t>::max()},
                                              {"size", std::size_t{123'456'789'012}},
                                              {"small", static_cast<short>(-7)},
                                              {"real", 0.125},
                                              {"single", 2.5F},
                                              {"yes", true},
                                              {"no", false}});
  EXPECT_EQ(line["least"].asInt64(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(line["most"].asInt64(), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(line["size"].asInt64(), 123'456'789'012);
  EXPECT_EQ(line["small"].asInt(), -7);
  EXPECT_EQ(line["real"].asDouble(), 0.125);
  EXPECT_EQ(line["single"].asDouble(), 2.5);
  EXPECT_TRUE(line["yes"].isBool() && line["yes"].asBool());
  EXPECT_TRUE(line["no"].isBool() && !line["no"].asBool());
}

TEST_F(LogTest, WhatJsonHasNoNumberForIsNull) {
  const Json::Value line = Logged("odd", {{"inf", std::numeric_limits<double>::infinity()},
                                          {"nan", std::numeric_limits<double>::quiet_NaN()},
                                          {"after", 1}});
  EXPECT_TRUE(line["inf"].isNull() && line.isMember("inf"));
  EXPECT_TRUE(line["nan"].isNull() && line.isMember("nan"));
  EXPECT_EQ(line["after"], 1);
}

TEST_F(LogTest, ALevelThatIsOffWritesNothing) {
  Init(Level::kWarning, "test");
  EXPECT_FALSE(Enabled(Level::kDebug));
  EXPECT_FALSE(Enabled(Level::kInfo));
  EXPECT_TRUE(Enabled(Level::kWarning));
  EXPECT_TRUE(Enabled(Level::kError));
  Captured captured;
  Debug("off");
  Info("off", {{"field", "value"}});
  EXPECT_TRUE(captured.Writes().empty());
  Warning("on");
  Error("on");
  EXPECT_EQ(captured.Writes().size(), 2U);
}

TEST_F(LogTest, ALineLeavesWithOneWriteHoweverLongItIs) {
  for (const std::size_t length : {100U, 5'000U, 70'000U}) {
    Captured captured;
    Info("long", {{"text", std::string(length, 'x')}});
    const auto writes = captured.Writes();
    ASSERT_EQ(writes.size(), 1U) << length;
    EXPECT_EQ(ParseLine(writes[0])["text"].asString().size(), length);
  }
}

TEST_F(LogTest, LinesOfManyThreadsDoNotMix) {
  constexpr int kThreads = 4;
  constexpr int kLines = 50;
  Captured captured;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([thread] {
        for (int i = 0; i < kLines; ++i) Info("line", {{"thread", thread}, {"i", i}});
      });
    }
  }
  std::vector<int> next(kThreads);
  for (const std::string& write : captured.Writes()) {
    const Json::Value line = ParseLine(write);
    EXPECT_EQ(line["i"].asInt(), next.at(line["thread"].asUInt())++);
  }
  EXPECT_EQ(next, std::vector<int>(kThreads, kLines));
}

TEST(LogLevelTest, WordsAndLevelsBelongTogether) {
  Level level = Level::kError;
  EXPECT_TRUE(ParseLevel("debug", level) && level == Level::kDebug);
  EXPECT_TRUE(ParseLevel("info", level) && level == Level::kInfo);
  EXPECT_TRUE(ParseLevel("warning", level) && level == Level::kWarning);
  EXPECT_TRUE(ParseLevel("error", level) && level == Level::kError);
}

TEST(LogLevelTest, AnotherWordIsRefusedAndLeavesTheLevelAlone) {
  for (const char* word : {"", "INFO", "warn", "info ", "trace", "off"}) {
    Level level = Level::kWarning;
    EXPECT_FALSE(ParseLevel(word, level)) << word;
    EXPECT_EQ(level, Level::kWarning);
  }
}

// In a process of its own: it is stderr that goes to the file.
class LogFileTest : public testing::Test {
 protected:
  static bool Exits(const std::function<bool()>& body) {
    const pid_t pid = fork();
    if (pid == 0) _exit(body() ? 0 : 1);
    int status = 1;
    waitpid(pid, &status, 0);
    return status == 0;
  }
  std::string Read(const std::string& name) const { return test::ReadFile(folder_ / name); }

  const test::TemporaryFolder folder_;
};

TEST_F(LogFileTest, IsMadeAndAppendedTo) {
  test::WriteFile(folder_ / "log", "before\n");
  EXPECT_TRUE(Exits([this] {
    if (!OpenFile(folder_ / "log")) return false;
    Init(Level::kInfo, "test");
    Info("one");
    Info("two");
    return OpenFile(folder_ / "new");
  }));
  const std::string text = Read("log");
  EXPECT_TRUE(text.starts_with("before\n"));
  EXPECT_LT(text.find("\"one\""), text.find("\"two\""));
  EXPECT_EQ(Read("new"), "");
}

TEST_F(LogFileTest, TakesWhatOthersWriteToStderr) {
  EXPECT_TRUE(Exits([this] {
    return OpenFile(folder_ / "log") && write(STDERR_FILENO, "from a library", 14) == 14;
  }));
  EXPECT_EQ(Read("log"), "from a library");
}

TEST_F(LogFileTest, ReopenFollowsItsNameAfterAMove) {
  EXPECT_TRUE(Exits([this] {
    Init(Level::kInfo, "test");
    if (!OpenFile(folder_ / "log")) return false;
    Info("old");
    std::filesystem::rename(folder_ / "log", folder_ / "log.1");
    Info("still old");
    if (!Reopen()) return false;
    Info("new");
    return true;
  }));
  EXPECT_NE(Read("log.1").find("still old"), std::string::npos);
  EXPECT_EQ(Read("log.1").find("\"new\""), std::string::npos);
  EXPECT_NE(Read("log").find("\"new\""), std::string::npos);
  EXPECT_EQ(Read("log").find("old"), std::string::npos);
}

TEST_F(LogFileTest, AnEmptyPathLeavesStderrAsItIs) {
  EXPECT_TRUE(Exits([this] {
    if (!OpenFile(folder_ / "log") || !OpenFile("") || !Reopen()) return false;
    return write(STDERR_FILENO, "x", 1) == 1;
  }));
  EXPECT_EQ(Read("log"), "x");
}

TEST_F(LogFileTest, OneThatCannotBeOpenedIsSaidAndStderrStays) {
  EXPECT_TRUE(Exits([this] {
    if (!OpenFile(folder_ / "log")) return false;
    errno = 0;
    if (OpenFile(folder_ / "no/such/folder/log") || errno != ENOENT) return false;
    return write(STDERR_FILENO, "x", 1) == 1;
  }));
  EXPECT_EQ(Read("log"), "x");
}

TEST_F(LogFileTest, NoLineIsLostOrCutWhileItIsOpenedAgain) {
  constexpr int kLines = 3'000;
  EXPECT_TRUE(Exits([this] {
    Init(Level::kInfo, "test");
    if (!OpenFile(folder_ / "log")) return false;
    std::jthread writer([] {
      for (int i = 0; i < kLines; ++i) Info("line", {{"text", std::string(200, 'x')}});
    });
    for (int i = 0; i < 100; ++i) {
      std::filesystem::rename(folder_ / "log", folder_ / ("log." + std::to_string(i)));
      if (!Reopen()) return false;
      usleep(500);
    }
    return true;
  }));
  int lines = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    std::istringstream file(test::ReadFile(entry.path()));
    for (std::string line; std::getline(file, line); ++lines) ParseLine(line + "\n");
  }
  EXPECT_EQ(lines, kLines);
}

// A file that takes no more than so many bytes is a disk that is nearly full, and has room again
// when the limit is gone.
void LimitFiles(rlim_t bytes) {
  signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(9);
}

// The lines of a log, without the empty ones; a torn one is no object.
std::vector<Json::Value> Lines(const std::string& text) {
  std::vector<Json::Value> lines;
  std::istringstream file(text);
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    lines.push_back(line.ends_with("}") ? ParseLine(line + "\n") : Json::Value());
  }
  return lines;
}

TEST_F(LogFileTest, WhenThereIsRoomAgainItGoesOnAndSaysHowManyAreMissing) {
  EXPECT_TRUE(Exits([this] {
    Init(Level::kInfo, "test");
    if (!OpenFile(folder_ / "log")) return false;
    LimitFiles(300);
    for (int i = 0; i < 10; ++i) Info("line", {{"i", i}});
    LimitFiles(RLIM_INFINITY);
    Info("again");
    return true;
  }));
  int written = 0;
  int torn = 0;
  int dropped = 0;
  for (const Json::Value& line : Lines(Read("log"))) {
    if (line.isNull()) {
      ++torn;
      continue;
    }
    if (line["event"] == "line") ++written;
    if (line["event"] == "log lines dropped") dropped = line["count"].asInt();
  }
  EXPECT_GT(written, 0);
  EXPECT_LE(torn, 1);
  EXPECT_EQ(written + dropped, 10);
  EXPECT_NE(Read("log").find("\"again\""), std::string::npos);
}

// Processes of a pool write to one open file. The other one has room when we have none.
TEST_F(LogFileTest, ATornLineTakesNothingFromAnotherProcess) {
  constexpr int kLines = 20'000;
  EXPECT_TRUE(Exits([this] {
    Init(Level::kInfo, "test");
    if (!OpenFile(folder_ / "log")) return false;
    const pid_t other = fork();
    if (other == 0) {
      for (int i = 0; i < kLines; ++i) dprintf(STDERR_FILENO, "<%d>\n", i);
      _exit(0);
    }
    while (waitpid(other, nullptr, WNOHANG) == 0) {
      struct stat info {};
      if (fstat(STDERR_FILENO, &info) != 0) return false;
      LimitFiles(static_cast<rlim_t>(info.st_size) + 50);
      Info("line");
    }
    return true;
  }));
  const std::string text = Read("log");
  std::size_t at = 0;  // they come in their order
  for (int i = 0; i < kLines; ++i) {
    at = text.find("<" + std::to_string(i) + ">\n", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

// As a socket takes them.
TEST_F(LogFileTest, ATornLineIsNotContinuedByTheNextOne) {
  EXPECT_TRUE(Exits([] {
    std::array<int, 2> pair{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) return false;
    const int room = 4'608;
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    dup2(pair[1], STDERR_FILENO);
    Init(Level::kInfo, "test");
    Info("long", {{"text", std::string(1'000'000, 'x')}});
    std::string got(2'000'000, '\0');
    const ssize_t part = recv(pair[0], got.data(), got.size(), MSG_DONTWAIT);
    if (part <= 0 || part >= 1'000'000) return false;
    while (recv(pair[0], got.data(), got.size(), MSG_DONTWAIT) > 0) continue;
    Info("next");
    const ssize_t next = recv(pair[0], got.data(), got.size(), MSG_DONTWAIT);
    return next > 1 && got[0] == '\n' && got[1] == '{' &&
           got.substr(0, static_cast<std::size_t>(next)).find("\"next\"") != std::string::npos;
  }));
}

TEST_F(LogFileTest, AFullDiskCostsNoTimeAndIsNoCrash) {
  EXPECT_TRUE(Exits([] {
    Init(Level::kInfo, "test");
    if (!OpenFile("/dev/full")) return false;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 1'000; ++i) Error("lost");
    return std::chrono::steady_clock::now() - begin < std::chrono::seconds(30);
  }));
}

TEST_F(LogFileTest, ALinkIsNotFollowed) {
  test::WriteFile(folder_ / "precious", "precious");
  std::filesystem::create_symlink(folder_ / "precious", folder_ / "log");
  EXPECT_TRUE(Exits([this] { return !OpenFile(folder_ / "log") && errno == ELOOP; }));
  EXPECT_EQ(Read("precious"), "precious");
}

TEST_F(LogFileTest, IsForItsUserAndGroupOnly) {
  EXPECT_TRUE(Exits([this] {
    umask(0);
    return OpenFile(folder_ / "log");
  }));
  struct stat info {};
  ASSERT_EQ(stat((folder_ / "log").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0640U);
}

}  // namespace
}  // namespace inferpool::log
