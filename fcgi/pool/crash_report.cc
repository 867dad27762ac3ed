#include "fcgi/pool/crash_report.h"

#include <cxxabi.h>
#include <execinfo.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <json/value.h>
#include <json/writer.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "shared/base/log.h"
#include "shared/base/replace_file.h"

namespace inferpool::fcgi {
namespace {

constexpr std::array kReportedSignals = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};

int SignalOf(const Crash& crash) {
  return WIFSIGNALED(crash.wait_status) ? WTERMSIG(crash.wait_status) : 0;
}

std::string SignalName(int signal) {
  const char* name = sigabbrev_np(signal);
  return name == nullptr ? fmt::format("{}", signal) : fmt::format("SIG{}", name);
}

// "program(_Z3foov+0x12) [0x55d0]" with the name as it was written, and without our process title,
// which took the place of the program's name.
std::string Readable(std::string_view symbol) {
  constexpr std::string_view kTitle = "inferpool: ";
  if (symbol.starts_with(kTitle) && symbol.find('(') != std::string_view::npos) {
    return Readable("inferpool" + std::string(symbol.substr(symbol.find('('))));
  }
  const std::size_t open = symbol.find('(');
  const std::size_t plus = symbol.find('+', open);
  if (open == std::string_view::npos || plus == std::string_view::npos) return std::string(symbol);
  const std::string mangled(symbol.substr(open + 1, plus - open - 1));
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), &std::free);
  if (status != 0 || name == nullptr) return std::string(symbol);
  return fmt::format("{}({}{}", symbol.substr(0, open), name.get(), symbol.substr(plus));
}

std::vector<std::string> Frames(const Backtrace& backtrace, bool same_program) {
  const std::size_t count = std::min<std::size_t>(backtrace.count, kMaxFrames);
  std::vector<void*> addresses;
  std::vector<std::string> frames;
  for (std::size_t i = 0; i < count; ++i) {
    // They were pointers in another process.
    addresses.push_back(reinterpret_cast<void*>(  // NOLINT(performance-no-int-to-ptr)
        backtrace.addresses[i].load()));
  }
  if (same_program && !addresses.empty()) {
    const std::unique_ptr<char*, decltype(&std::free)> symbols(
        backtrace_symbols(addresses.data(), static_cast<int>(addresses.size())), &std::free);
    if (symbols != nullptr) {
      for (std::size_t i = 0; i < count; ++i) frames.push_back(Readable(symbols.get()[i]));
      return frames;
    }
  }
  for (void* const address : addresses) frames.push_back(fmt::format("[{}]", address));
  return frames;
}

struct Thread {
  int thread_slot;  // -1: none
  std::optional<Task> task;
  double busy_s;
  std::vector<std::string> frames;
};

// Those that left a stack, or have a request in work.
std::vector<Thread> Threads(const Scoreboard& scoreboard, const Crash& crash, TimePoint now) {
  std::vector<Thread> threads;
  const std::span<ThreadSlot> thread_slots = scoreboard.used_thread_slots(crash.slot);
  for (std::size_t i = 0; i < thread_slots.size(); ++i) {
    const ThreadSlot& thread_slot = thread_slots[i];
    const std::int64_t since = thread_slot.busy_since_ns;
    if (thread_slot.thread == 0 || (thread_slot.backtrace.count == 0 && since == 0)) continue;
    threads.push_back(
        {.thread_slot = static_cast<int>(i),
         .task = since == 0 ? std::nullopt : thread_slot.task.Load(),
         .busy_s = since == 0 ? 0 : std::chrono::duration<double>(now - FromNs(since)).count(),
         .frames = Frames(thread_slot.backtrace, crash.same_program)});
  }
  const Backtrace& other = scoreboard.slot(crash.slot).backtrace;
  if (other.count > 0) threads.push_back({-1, std::nullopt, 0, Frames(other, crash.same_program)});
  return threads;
}

// The thread whose doing it was; none when that is not known.
const Thread* Culprit(const std::vector<Thread>& threads, const WorkerSlot& slot,
                      const Crash& crash) {
  if (threads.empty()) return nullptr;
  if (!crash.stuck_thread_slot && (slot.crash_signal == 0 || slot.crash_thread < 0)) return nullptr;
  const int thread_slot = crash.stuck_thread_slot.value_or(slot.crash_thread.load());
  const auto thread = std::ranges::find(threads, thread_slot, &Thread::thread_slot);
  return thread == threads.end() ? nullptr : &*thread;
}

Json::Value ToJson(const Thread& thread) {
  Json::Value json;
  json["thread"] = thread.thread_slot;
  if (thread.task) {
    json["request_id"] = std::string(thread.task->request_id.view());
    json["model"] = std::string(thread.task->model.view());
    json["digest"] = thread.task->digest.known() ? ToHex(thread.task->digest) : "";
    json["busy_s"] = thread.busy_s;
  }
  json["backtrace"] = Json::arrayValue;
  for (const std::string& frame : thread.frames) json["backtrace"].append(frame);
  return json;
}

void KeepNewest(const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> reports;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".json") reports.push_back(entry.path());
  }
  if (reports.size() <= kMaxCrashReports) return;
  std::ranges::sort(reports);  // the names begin with the time
  reports.resize(reports.size() - kMaxCrashReports);
  for (const auto& old : reports) std::filesystem::remove(old, error);
}

// False, and logged, when the report could not be written whole: then there is none.
bool WriteReport(const std::string& folder, const std::string& path, const Json::Value& report) {
  mkdir(folder.c_str(), 0750);
  Json::StreamWriterBuilder builder;
  builder["indentation"] = "  ";
  builder["precision"] = 6;
  const absl::Status written = ReplaceFile(path, Json::writeString(builder, report) + "\n");
  if (!written.ok()) log::Error("cannot write the crash report", {{"reason", Message(written)}});
  KeepNewest(folder);
  return written.ok();
}

}  // namespace

bool IsReported(const Crash& crash) {
  return crash.stuck_thread_slot ||
         std::ranges::find(kReportedSignals, SignalOf(crash)) != kReportedSignals.end();
}

CrashRecord ReportCrash(const Scoreboard& scoreboard, const Crash& crash, const std::string& folder,
                        TimePoint now) {
  const WorkerSlot& slot = scoreboard.slot(crash.slot);
  const int signal = SignalOf(crash);
  const std::chrono::system_clock::time_point wall = std::chrono::system_clock::now();
  const std::vector<Thread> threads = Threads(scoreboard, crash, now);
  const Thread* culprit = Culprit(threads, slot, crash);
  const int role_number = scoreboard.RoleOfSlot(crash.slot);
  const RoleRow& role_row = scoreboard.pool().roles[static_cast<std::size_t>(role_number)];
  CrashRecord record{
      .at_s = std::chrono::system_clock::to_time_t(wall),
      .role = role_row.name.Load().value_or(RoleName()),
      .place = crash.slot - scoreboard.SlotOf(role_number, 0).value_or(0),
      .pid = crash.pid,
      .signal = signal,
      .exit_status = WIFEXITED(crash.wait_status) ? WEXITSTATUS(crash.wait_status) : 0,
      .stuck = crash.stuck_thread_slot ? 1U : 0U,
      .task = {}};
  if (culprit != nullptr && culprit->task) record.task = *culprit->task;
  if (!IsReported(crash)) return record;

  const auto time = fmt::gmtime(std::chrono::system_clock::to_time_t(wall));
  Json::Value report;
  report["time"] = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", time);
  const std::string role(record.role.view());
  report["role"] = role;
  report[role] = record.place;
  report["pid"] = crash.pid;
  report["signal"] = SignalName(signal);
  report["stuck"] = crash.stuck_thread_slot.has_value();
  if (slot.crash_address != 0) report["address"] = fmt::format("{:#x}", slot.crash_address.load());
  report["generation"] = slot.process.generation.load();
  report["age_s"] = std::chrono::duration<double>(now - FromNs(slot.process.started_ns)).count();
  report["served"] = scoreboard.Served(crash.slot) - slot.served_before;
  report["request_id"] = std::string(record.task.request_id.view());
  report["model"] = std::string(record.task.model.view());
  report["digest"] = record.task.digest.known() ? ToHex(record.task.digest) : "";
  report["crashed_thread"] = culprit == nullptr ? Json::Value() : Json::Value(culprit->thread_slot);
  report["threads"] = Json::arrayValue;
  for (const Thread& thread : threads) report["threads"].append(ToJson(thread));
  const std::string path =
      fmt::format("{}/{:%Y%m%dT%H%M%S}-{}-{}-{}.json", folder, time, role, record.place, crash.pid);
  const bool written = WriteReport(folder, path, report);

  log::Error(role + " crashed", {{role, record.place},
                                 {"child_pid", crash.pid},
                                 {"signal", SignalName(signal)},
                                 {"stuck", crash.stuck_thread_slot.has_value()},
                                 {"request_id", record.task.request_id.view()},
                                 {"model", record.task.model.view()},
                                 {"digest", report["digest"].asString()},
                                 {"report", written ? path : ""}});
  for (const Thread& thread : threads) {
    log::Error("backtrace", {{role, record.place},
                             {"thread", thread.thread_slot},
                             {"frames", fmt::format("{}", fmt::join(thread.frames, "\n"))}});
  }
  return record;
}

}  // namespace inferpool::fcgi
