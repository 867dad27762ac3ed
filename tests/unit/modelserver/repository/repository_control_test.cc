// Loading, loading again and unloading on request.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "modelserver/repository/repository.h"
#include "tests/unit/modelserver/config/configured.h"
#include "tests/unit/modelserver/engines/tiny_onnx.h"
#include "tests/unit/modelserver/repository/folder.h"
#include "tests/unit/modelserver/repository/infer.h"

namespace inferpool::modelserver {
namespace {

bool Never() {
  return false;
}

// A model that answers (a, b): as they are, or their sum and difference.
std::string Json(const std::string& backend) {
  return R"({"backend": ")" + backend + R"(",
      "input": [{"name": "a", "data_type": "TYPE_INT32", "dims": [1]},
                {"name": "b", "data_type": "TYPE_INT32", "dims": [1]}],
      "output": [{"name": "p", "data_type": "TYPE_INT32", "dims": [1]},
                 {"name": "q", "data_type": "TYPE_INT32", "dims": [1]}]})";
}

std::string Text(const std::string& backend) {
  return "backend: '" + backend + R"('
      input [ { name: "a" data_type: TYPE_INT32 dims: [ 1 ] },
              { name: "b" data_type: TYPE_INT32 dims: [ 1 ] } ]
      output [ { name: "p" data_type: TYPE_INT32 dims: [ 1 ] },
               { name: "q" data_type: TYPE_INT32 dims: [ 1 ] } ])";
}

LoadParameters WithConfig(const std::string& backend) {
  return {.config = Json(backend), .files = {}};
}

// "10 4" for a sum and a difference of 7 and 3; "7 3" for the two as they are.
std::string Answer(Model& model) {
  inference::ModelInferRequest request;
  AddInput(request, "a", inference::TYPE_INT32, {1}, Raw<std::int32_t>({7}));
  AddInput(request, "b", inference::TYPE_INT32, {1}, Raw<std::int32_t>({3}));
  const auto outputs = Infer(model, request);
  if (!outputs.ok()) return std::string(Message(outputs.status()));
  return std::to_string(Values<std::int32_t>((*outputs)[0])[0]) + " " +
         std::to_string(Values<std::int32_t>((*outputs)[1])[0]);
}

class Control : public testing::Test {
 protected:
  Repository& Start(RepositoryOptions options = {.control = ModelControl::kExplicit, .load = {}}) {
    repository_.emplace(folder_.path(), std::move(options));
    EXPECT_TRUE(repository_->Scan().ok());
    repository_->Load(Never);
    EXPECT_TRUE(repository_->Ready());
    return *repository_;
  }

  std::string Index() {
    std::string text;
    for (const IndexEntry& entry : repository_->Index()) {
      text += entry.name + ":" + entry.version + ":" + std::string(ModelStateName(entry.state)) +
              (entry.reason.empty() ? "" : "!") + " ";
    }
    return text;
  }

  std::string Ask(const std::string& name) {
    const auto model = repository_->Find(name, "");
    return model.ok() ? Answer(**model) : std::string(Message(model.status()));
  }

  const Folder folder_;
  std::optional<Repository> repository_;
};

TEST_F(Control, IsOnlyForWhoAskedForIt) {
  folder_.Write("m/config.pbtxt", Text("identity"));
  for (const ModelControl control : {ModelControl::kNone, ModelControl::kPoll}) {
    Repository& repository = Start({.control = control, .load = {}});
    EXPECT_TRUE(absl::IsUnavailable(repository.Load("m", {})));
    EXPECT_TRUE(absl::IsUnavailable(repository.Unload("m", false)));
    EXPECT_EQ(Index(), "m:1:READY ");
  }
}

TEST_F(Control, LoadsAtTheStartWhatItIsTold) {
  folder_.Write("a/config.pbtxt", Text("identity"));
  folder_.Write("b/config.pbtxt", Text("add_sub"));
  Start();
  EXPECT_EQ(Index(), "a::UNAVAILABLE! b::UNAVAILABLE! ");
  EXPECT_EQ(repository_->Find("a", "").status().code(), absl::StatusCode::kNotFound);
  Start({.control = ModelControl::kExplicit, .load = {"b", "nobody"}});
  EXPECT_EQ(Index(), "a::UNAVAILABLE! b:1:READY nobody::UNAVAILABLE! ");
  Start({.control = ModelControl::kExplicit, .load = {"*"}});
  EXPECT_EQ(Index(), "a:1:READY b:1:READY ");
  EXPECT_FALSE(Repository(folder_.path(), {.control = ModelControl::kExplicit, .load = {"*", "a"}})
                   .Scan()
                   .ok());
  EXPECT_FALSE(
      Repository(folder_.path(), {.control = ModelControl::kPoll, .load = {"a"}}).Scan().ok());
  EXPECT_FALSE(Repository(folder_.path(), {.control = ModelControl::kExplicit, .load = {"../a"}})
                   .Scan()
                   .ok());
}

TEST_F(Control, LoadsAndUnloads) {
  folder_.Write("m/config.pbtxt", Text("add_sub"));
  Repository& repository = Start();
  ASSERT_TRUE(repository.Load("m", {}).ok());
  EXPECT_EQ(Ask("m"), "10 4");
  EXPECT_TRUE(repository.IsReady("m", "1"));
  ASSERT_TRUE(repository.Unload("m", false).ok());
  EXPECT_FALSE(repository.IsReady("m", ""));
  EXPECT_EQ(repository.Find("m", "").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(repository.Find("m", "1").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(Message(repository.Find("m", "1").status()).find("unloaded"), std::string::npos);
  EXPECT_TRUE(repository.Unload("m", false).ok());
  EXPECT_TRUE(repository.Unload("nobody", true).ok());
  ASSERT_TRUE(repository.Load("m", {}).ok());
  EXPECT_EQ(Ask("m"), "10 4");
  EXPECT_EQ(Index(), "m:1:READY ");
}

TEST_F(Control, AnUnloadedModelGoesWithItsLastRequest) {
  folder_.Write("m/config.pbtxt", Text("add_sub"));
  Repository& repository = Start();
  ASSERT_TRUE(repository.Load("m", {}).ok());
  {
    const auto in_flight = repository.Find("m", "");
    ASSERT_TRUE(in_flight.ok());
    ASSERT_TRUE(repository.Unload("m", false).ok());
    EXPECT_EQ(Index(), "m:1:UNLOADING! ");
    EXPECT_FALSE(repository.IsReady("m", ""));
    EXPECT_EQ(Answer(**in_flight), "10 4");
  }
  EXPECT_EQ(Index(), "m:1:UNAVAILABLE! ");
}

TEST_F(Control, LoadErrorsHaveTheirCodes) {
  folder_.Write("broken/config.pbtxt", "max_batch_sise: 1");
  folder_.Write("no_net/1/model.onnx", "nonsense");
  Repository& repository = Start();
  const absl::Status missing = repository.Load("nobody", {});
  EXPECT_EQ(missing.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Message(missing), "failed to load 'nobody', failed to poll from model repository");
  for (const char* name : {"broken", "no_net"}) {
    const absl::Status status = repository.Load(name, {});
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_TRUE(Message(status).starts_with(std::string("failed to load '") + name + "', "))
        << status;
  }
  EXPECT_EQ(Index(), "broken::UNAVAILABLE! no_net:1:UNAVAILABLE! ");
  for (const std::string& name :
       {std::string(), std::string(" "), std::string("\t "), std::string("."), std::string(".."),
        std::string("../m"), std::string("a/b"), std::string("/etc"), std::string(300, 'x'),
        std::string("a\0b", 3)}) {
    EXPECT_TRUE(absl::IsInvalidArgument(repository.Load(name, {}))) << name;
  }
}

TEST_F(Control, LoadsModelsWhoseNamesBeginWithDots) {
  for (const char* name : {".m", "..m", "..."}) {
    folder_.Write(std::string(name) + "/config.pbtxt", Text("add_sub"));
  }
  Repository& repository = Start();
  for (const char* name : {".m", "..m", "..."}) {
    ASSERT_TRUE(repository.Load(name, {}).ok()) << name;
    EXPECT_EQ(Ask(name), "10 4");
    ASSERT_TRUE(repository.Unload(name, false).ok());
  }
  Start({.control = ModelControl::kExplicit, .load = {"*"}});
  EXPECT_EQ(Index(), "...:1:READY ..m:1:READY .m:1:READY ");
}

TEST_F(Control, TakesAConfigurationAlong) {
  folder_.Write("m/config.pbtxt", Text("identity"));
  Repository& repository = Start();
  ASSERT_TRUE(repository.Load("m", WithConfig("add_sub")).ok());
  EXPECT_EQ(Ask("m"), "10 4");
  ASSERT_TRUE(repository.Load("m", {}).ok());  // for one load alone
  EXPECT_EQ(Ask("m"), "7 3");
  for (const char* json : {"", "{", "[]", "{\"backend\": 3}", "{\"bakend\": \"identity\"}",
                           "{\"name\": \"other\"}", "{\"backend\": \"nothing\"}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(repository.Load("m", {.config = json, .files = {}})))
        << json;
    EXPECT_EQ(Ask("m"), "7 3");
  }
}

TEST_F(Control, TakesFilesAlong) {
  Repository& repository = Start();
  const std::string config = R"({"backend": "onnxruntime"})";
  ASSERT_TRUE(repository
                  .Load("net", {.config = config,
                                .files = {{"3/model.onnx", MakeTinyOnnx({.names = "{0: 'cat'}"})}}})
                  .ok());
  EXPECT_EQ(Index(), "net:3:READY ");
  // Its folder is not the repository's, and holds what was sent alone.
  folder_.Write("m/config.pbtxt", Text("identity"));
  folder_.Write("m/7/note", "");
  ASSERT_TRUE(repository.Load("m", {.config = Json("add_sub"), .files = {{"2/x", "y"}}}).ok());
  EXPECT_EQ(Ask("m"), "10 4");
  EXPECT_EQ(repository.ReadyVersions("m"), std::vector<std::int64_t>{2});

  EXPECT_TRUE(absl::IsInvalidArgument(
      repository.Load("net", {.config = {}, .files = {{"1/model.onnx", MakeTinyOnnx()}}})));
  for (const char* name : {"../../etc/x", "1/../../x", "model.onnx", "/1/x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        repository.Load("m", {.config = Json("add_sub"), .files = {{name, "x"}}})))
        << name;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      repository.Load("net", {.config = config, .files = {{"1/model.onnx", "nonsense"}}})));
  EXPECT_EQ(repository.ReadyVersions("net"), std::vector<std::int64_t>{3});
}

TEST_F(Control, AFailedReloadKeepsWhatServes) {
  folder_.Write("m/config.pbtxt", Text("add_sub"));
  Repository& repository = Start();
  ASSERT_TRUE(repository.Load("m", {}).ok());
  folder_.Write("m/config.pbtxt", "backend: 'nothing'");
  EXPECT_TRUE(absl::IsInvalidArgument(repository.Load("m", {})));
  EXPECT_EQ(Index(), "m:1:READY! ");
  EXPECT_NE(repository.Index()[0].reason.find("no backend 'nothing'"), std::string::npos);
  EXPECT_EQ(Ask("m"), "10 4");
  std::filesystem::remove_all(folder_.path() / "m");
  EXPECT_EQ(repository.Load("m", {}).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Ask("m"), "10 4");
  folder_.Write("m/config.pbtxt", Text("identity"));
  EXPECT_TRUE(repository.Load("m", {}).ok());
  EXPECT_EQ(Index(), "m:1:READY ");
  EXPECT_EQ(Ask("m"), "7 3");
}

TEST_F(Control, LoadsAgainOnlyWhatHasChanged) {
  folder_.Write("m/config.pbtxt", Text("add_sub"));
  Repository& repository = Start();
  ASSERT_TRUE(repository.Load("m", {}).ok());
  const std::shared_ptr<Model> first = *repository.Find("m", "");
  ASSERT_TRUE(repository.Load("m", {}).ok());
  EXPECT_EQ(*repository.Find("m", ""), first);
  folder_.Write("m/labels.txt", "cat");
  ASSERT_TRUE(repository.Load("m", {}).ok());
  EXPECT_NE(*repository.Find("m", ""), first);
}

TEST_F(Control, VersionsFollowThePolicyAtEachLoad) {
  folder_.Write("m/config.pbtxt", Text("add_sub"));
  folder_.Write("m/1/x", "");
  Repository& repository = Start();
  ASSERT_TRUE(repository.Load("m", {}).ok());
  folder_.Write("m/2/x", "");
  const std::shared_ptr<Model> in_flight = *repository.Find("m", "1");
  ASSERT_TRUE(repository.Load("m", {}).ok());
  EXPECT_EQ(Index(), "m:1:UNLOADING! m:2:READY ");
  folder_.Write("m/config.pbtxt", Text("add_sub") + " version_policy { all {} }");
  ASSERT_TRUE(repository.Load("m", {}).ok());
  EXPECT_EQ(Index(), "m:1:READY m:2:READY ");
  folder_.Write("m/config.pbtxt",
                Text("add_sub") + " version_policy { specific { versions: [ 1 ] } }");
  ASSERT_TRUE(repository.Load("m", {}).ok());
  EXPECT_EQ(Index(), "m:1:READY m:2:UNAVAILABLE! ");
  EXPECT_EQ((*repository.Find("m", ""))->version(), 1);
  folder_.Write("m/config.pbtxt",
                Text("add_sub") + " version_policy { specific { versions: [ 9 ] } }");
  EXPECT_FALSE(repository.Load("m", {}).ok());
  EXPECT_EQ((*repository.Find("m", ""))->version(), 1);
  folder_.Write("m/config.pbtxt",
                Text("add_sub") + " version_policy { latest { num_versions: 2 } }");
  folder_.Write("m/3/x", "");
  ASSERT_TRUE(repository.Load("m", {}).ok());
  EXPECT_EQ(repository.ReadyVersions("m"), (std::vector<std::int64_t>{2, 3}));
}

TEST_F(Control, ReloadsWithoutAGap) {
  folder_.Write("m/config.pbtxt", Text("add_sub"));
  folder_.Write("both/1/x", "");
  Repository& repository = Start();
  // As JSON: Debian's protobuf, built without ThreadSanitizer, crashes under it where it reads a
  // map's text.
  std::string both = Json("");
  both.replace(0, both.find(','), R"({"platform": "ensemble", "ensemble_scheduling": {"step": [
      {"model_name": "m", "model_version": -1, "input_map": {"a": "a", "b": "b"},
       "output_map": {"p": "p", "q": "q"}}]})");
  ASSERT_TRUE(repository.Load("both", {.config = both, .files = {}}).ok());
  std::atomic<int> answers = 0;
  std::vector<std::jthread> callers;
  for (const char* name : {"m", "both", "m", "both"}) {
    callers.emplace_back([&, name](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        const std::string answer = Ask(name);
        ASSERT_TRUE(answer == "10 4" || answer == "7 3") << answer;
        ++answers;
      }
    });
  }
  for (int i = 0; i < 40; ++i) {
    const char* backend = i % 2 == 0 ? "identity" : "add_sub";
    ASSERT_TRUE(repository.Load("m", WithConfig(backend)).ok());
    EXPECT_EQ(Ask("m"), i % 2 == 0 ? "7 3" : "10 4");
    if (i % 5 == 0) {
      EXPECT_FALSE(repository.Load("m", {.config = "{}", .files = {}}).ok());
    }
    for (const int before = answers; answers < before + 4;) std::this_thread::yield();
  }
}

TEST_F(Control, ManyMayControlAtOnce) {
  for (const char* name : {"a", "b", "c"}) {
    folder_.Write(std::string(name) + "/config.pbtxt", Text("add_sub"));
  }
  Repository& repository = Start();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      const std::string name(1, static_cast<char>('a' + i % 3));
      for (int round = 0; round < 20; ++round) {
        if (i < 3) {
          EXPECT_TRUE(repository.Load(name, WithConfig("identity")).ok());
        } else {
          EXPECT_TRUE(repository.Unload(name, round % 2 == 0).ok());
        }
        if (const auto model = repository.Find(name, ""); model.ok()) {
          EXPECT_EQ(Answer(**model), "7 3");
        }
        repository.Index();
      }
    });
  }
  threads.clear();
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_TRUE(repository.Load(name, {}).ok());
    EXPECT_EQ(Ask(name), "10 4");
  }
}

// Waits for a reader of the pipe, and gives it `text`.
void Feed(const std::filesystem::path& pipe, const std::string& text) {
  const int file = open(pipe.c_str(), O_WRONLY);
  ASSERT_GE(file, 0);
  EXPECT_EQ(write(file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  close(file);
}

TEST_F(Control, ASlowLoadHoldsUpNoOther) {
  folder_.Write("fast/config.pbtxt", Text("add_sub"));
  folder_.Write("slow/1/x", "");
  const std::filesystem::path pipe = folder_.path() / "slow/config.pbtxt";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  Repository& repository = Start();
  std::jthread slow([&] { EXPECT_TRUE(repository.Load("slow", {}).ok()); });
  Feed(pipe, Text("identity"));  // a look whether it is an ensemble
  while (Index() != "fast::UNAVAILABLE! slow::LOADING ") std::this_thread::yield();
  // It now reads its configuration, for as long as nobody writes one.
  ASSERT_TRUE(repository.Load("fast", {}).ok());
  EXPECT_EQ(Ask("fast"), "10 4");
  EXPECT_TRUE(absl::IsUnavailable(repository.Find("slow", "").status()));
  ASSERT_TRUE(repository.Unload("fast", false).ok());
  EXPECT_EQ(Index(), "fast:1:UNAVAILABLE! slow::LOADING ");
  Feed(pipe, Text("identity"));
  slow.join();
  EXPECT_EQ(Ask("slow"), "7 3");
}

}  // namespace
}  // namespace inferpool::modelserver
