// Which model server has which models ready, as far as it is known: whom a call about a model may
// go to. Decisions only: what the servers said and the time come in as arguments (model_watch.h
// asks them).
//
// A server that has an index (RepositoryIndex) has what is in it and nothing else. Of one that has
// none, only what was asked of it by ModelReady is known; it may have anything else. What was known
// of a server that is away stays known, so that its models are away and not unknown.
#pragma once

#include <compare>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/deadline.h"
#include "shared/base/mutex.h"

namespace inferpool::backend {

// An empty version stands for whichever the server chooses.
struct ModelVersion {
  std::string name;
  std::string version = {};

  auto operator<=>(const ModelVersion&) const = default;
};

// "yolo@4" as the version 4 of yolo. nullopt for a text that names no version: one without an '@',
// or with something else than 1 to 64 letters, digits, '.', '_' and '-' behind the last one.
std::optional<ModelVersion> SplitVersion(std::string_view text);

// The same the other way round; only the name where there is no version.
std::string Name(const ModelVersion& model);

// Thread safe. Its lock is held for look-ups alone.
class ModelDirectory {
 public:
  enum class Has { kNo, kMaybe, kYes };

  // `named`: models that the operator named, which servers without an index are asked about.
  ModelDirectory(std::size_t servers, std::vector<std::string> named);

  Has Look(std::size_t server, const ModelVersion& model) const;

  // The servers, in order, that a call about the model may go to: those that have it ready; if none
  // has, those that may have it; if it is known that none has, all, which say so themselves.
  std::vector<std::size_t> ServersFor(const ModelVersion& model) const;

  // Whether a server other than `server` has it ready.
  bool HasAnotherThan(std::size_t server, const ModelVersion& model) const;

  // A model that is ready on a server, and the versions that the server named.
  struct Ready {
    std::string name;
    std::vector<std::string> versions;

    bool operator==(const Ready&) const = default;
  };
  std::vector<Ready> ReadyOn(std::size_t server) const;  // sorted by name

  // The models that are ready somewhere, and those that the operator named; sorted, each once.
  std::vector<std::string> Names() const;

  // Names of models by which a server shows that it is ready: what it had ready, then what the
  // operator named. A few.
  std::vector<std::string> SignsOf(std::size_t server) const;

  // ---- What to ask a server

  // True unless it said less than a minute ago that it has no index.
  bool AsksForIndex(std::size_t server, TimePoint now) const;

  // What a server without an index is to be asked about, one by one: what the operator named, what
  // it or another server had ready, and what is wanted.
  std::vector<ModelVersion> Questions(std::size_t server) const;

  // The next questions include this one. Bounded: what was wanted long ago is forgotten first.
  void Want(const ModelVersion& model);

  // Whether an answer that was asked for at `since` or later says whether the server has it.
  bool Knows(std::size_t server, const ModelVersion& model, TimePoint since) const;

  // When a server was asked that said it no longer has a model of this name, or a version of it,
  // that it had ready; the latest. TimePoint(): none has lost it, or each has it again.
  TimePoint LostAt(const std::string& name) const;

  // Whether the server has said anything of its models to a question of `since` or later.
  bool Told(std::size_t server, TimePoint since) const;

  // ---- What a server said. `asked`: when it was asked.

  void TookIndex(std::size_t server, std::span<const ModelVersion> ready, TimePoint asked);
  void TookNoIndex(std::size_t server, TimePoint asked);
  void TookReadiness(std::size_t server, const ModelVersion& model, bool ready, TimePoint asked);

  // It says nothing about models.
  void TookNothing(std::size_t server, TimePoint asked);

  // It described the model, so it has it: servers without an index are asked about it from now on.
  void Found(std::size_t server, const ModelVersion& model);

 private:
  struct Server {
    bool has_index = false;
    bool said_no_index = false;
    TimePoint asked_index{};                                  // that was answered
    TimePoint told{};                                         // the latest question that was
    std::map<std::string, std::set<std::string>> ready = {};  // versions by name
    std::map<ModelVersion, TimePoint> refused = {};           // without an index; when it was asked
    std::map<ModelVersion, TimePoint> asked = {};             // likewise; of those that are ready
    std::map<std::string, TimePoint> lost = {};               // names
  };

  // Makes room for it among what is known of the server; false: there is none.
  bool MakeRoomLocked(Server& server, const ModelVersion& model) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  static void Lose(Server& server, const std::string& name, TimePoint asked);

  Has LookLocked(const Server& server, const ModelVersion& model) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::vector<std::string> named_;
  mutable Mutex mutex_;
  std::vector<Server> servers_ ABSL_GUARDED_BY(mutex_);
  std::vector<ModelVersion> wanted_ ABSL_GUARDED_BY(mutex_);  // the latest last
};

}  // namespace inferpool::backend
