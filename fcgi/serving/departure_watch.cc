#include "fcgi/serving/departure_watch.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>

#include "shared/base/check.h"

namespace inferpool::fcgi {
namespace {

constexpr std::uint64_t kWake = ~std::uint64_t{0};

}  // namespace

DepartureWatch::DepartureWatch(std::size_t thread_slots)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      entries_(thread_slots) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWake;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

DepartureWatch::~DepartureWatch() {
  thread_.request_stop();
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
}

std::stop_token DepartureWatch::Begin(std::size_t thread_slot, int socket) {
  CHECK(thread_slot < entries_.size());
  Entry& entry = entries_[thread_slot];
  std::stop_token token;
  epoll_event event{};
  event.events = EPOLLRDHUP | EPOLLONESHOT;
  {
    const MutexLock lock(entry.mutex);
    ++entry.turn;
    token = entry.departed.emplace().get_token();
    event.data.u64 = (std::uint64_t{thread_slot} << 32U) | entry.turn;
  }
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket, &event);
  return token;
}

void DepartureWatch::End(std::size_t thread_slot, int socket) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket, nullptr);
  Entry& entry = entries_[thread_slot];
  const MutexLock lock(entry.mutex);
  entry.departed.reset();
}

void DepartureWatch::Run(const std::stop_token& stop) {
  std::array<epoll_event, 16> events{};
  while (!stop.stop_requested()) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const std::uint64_t mark = events[static_cast<std::size_t>(i)].data.u64;
      if (mark == kWake) continue;
      Entry& entry = entries_[mark >> 32U];
      std::optional<std::stop_source> departed;
      {
        const MutexLock lock(entry.mutex);
        if (entry.turn == static_cast<std::uint32_t>(mark)) departed = entry.departed;
      }
      // Without the lock: what is called back may take its time.
      if (departed) departed->request_stop();
    }
  }
}

}  // namespace inferpool::fcgi
