// Calls each entry of the table, and sees that it does what its name says: an entry at a wrong
// place would be another function.

#include "modelserver/onnxruntime/api.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "modelserver/onnxruntime/library.h"
#include "tests/unit/modelserver/engines/onnx_net.h"
#include "tests/unit/modelserver/repository/folder.h"

namespace inferpool::ort {
namespace {

using modelserver::Folder;
using modelserver::OnnxElement;
using modelserver::OnnxNet;

const Library& Loaded() {
  const auto library = Runtime();
  if (!library.ok()) {
    ADD_FAILURE() << library.status();
    abort();
  }
  return **library;
}

class ApiTest : public testing::Test {
 protected:
  template <typename EntryType, typename... Arguments>
  void Call(EntryType entry, Arguments... arguments) {
    const absl::Status status = library_.Check(api_(entry, arguments...));
    EXPECT_TRUE(status.ok()) << status;
  }

  OrtSessionOptions* Options() {
    OrtSessionOptions* options = nullptr;
    Call(kCreateSessionOptions, &options);
    return options;
  }

  OrtSession* Open(const OnnxNet& net, OrtSessionOptions* options) {
    OrtSession* session = nullptr;
    Call(kCreateSession, library_.environment(), folder_.Write("model.onnx", net.Bytes()).c_str(),
         options, &session);
    api_(kReleaseSessionOptions, options);
    return session;
  }

  OrtValue* Floats(std::span<float> data, std::span<const std::int64_t> shape) {
    OrtValue* value = nullptr;
    Call(kCreateTensorWithDataAsOrtValue, library_.memory(), data.data(), data.size_bytes(),
         shape.data(), shape.size(), kFloat, &value);
    return value;
  }

  std::string Take(char* text) {
    const std::string copy = text;
    Call(kAllocatorFree, library_.allocator(), text);
    return copy;
  }

  const Library& library_ = Loaded();
  const Api& api_ = library_.api();
  const Folder folder_;
};

OnnxNet Doubling() {
  return OnnxNet()
      .Input("x", OnnxElement::kFloat, {-1, 2})
      .Input("w", OnnxElement::kFloat, {2})
      .Constant("w", OnnxElement::kFloat, {2}, std::string(8, '\0'))
      .Node("Add", {"x", "x"}, {"d"})
      .Node("Add", {"d", "w"}, {"y"})
      .Output("y", OnnxElement::kFloat, {-1, 2})
      .Metadata("task", "double");
}

TEST_F(ApiTest, ErrorsHaveACodeAndAMessage) {
  OrtSessionOptions* options = Options();
  OrtSession* session = nullptr;
  OrtStatus* status =
      api_(kCreateSession, library_.environment(), "/nowhere/x.onnx", options, &session);
  ASSERT_NE(status, nullptr);
  EXPECT_EQ(api_(kGetErrorCode, status), kNoSuchFile);
  EXPECT_NE(std::string_view(api_(kGetErrorMessage, status)).find("/nowhere/x.onnx"),
            std::string_view::npos);
  api_(kReleaseStatus, status);
  api_(kReleaseSessionOptions, options);
}

TEST_F(ApiTest, AnEnvironmentLogsThroughItsFunctionAndTakesAnAllocator) {
  // The process's one environment: the library counts those who have it.
  std::vector<std::string> lines;
  OrtEnv* environment = nullptr;
  Call(
      kCreateEnvWithCustomLogger,
      [](void* parameter, LoggingLevel, const char*, const char*, const char*,
         const char* message) {
        static_cast<std::vector<std::string>*>(parameter)->emplace_back(message);
      },
      static_cast<void*>(&lines), kVerbose, "test", &environment);
  ASSERT_NE(environment, nullptr);
  Call(kDisableTelemetryEvents, environment);
  // Sessions that are told so take their memory from it.
  static int taken = 0;
  static OrtMemoryInfo* memory = nullptr;
  Call(kCreateCpuMemoryInfo, kDeviceAllocator, kDefaultMemory, &memory);
  static OrtAllocator counting{
      .version = kApiVersion,
      .allocate = [](OrtAllocator*, std::size_t bytes) -> void* {
        ++taken;
        return std::aligned_alloc(64, (bytes + 64) / 64 * 64);
      },
      .free = [](OrtAllocator*, void* block) { std::free(block); },
      .info = [](const OrtAllocator*) -> const OrtMemoryInfo* { return memory; }};
  Call(kRegisterAllocator, environment, &counting);
  OrtSessionOptions* options = Options();
  Call(kAddSessionConfigEntry, options, "session.use_env_allocators", "1");
  OrtSession* session = Open(Doubling(), options);
  ASSERT_NE(session, nullptr);
  std::array<float, 2> data = {1, 2};
  const std::array<std::int64_t, 2> shape = {1, 2};
  OrtValue* input = Floats(data, shape);
  const char* input_name = "x";
  const char* output_name = "y";
  OrtValue* output = nullptr;
  Call(kRun, session, nullptr, &input_name, &input, std::size_t{1}, &output_name, std::size_t{1},
       &output);
  EXPECT_GT(taken, 0);
  api_(kReleaseValue, output);
  api_(kReleaseValue, input);
  api_(kReleaseSession, session);
  OrtMemoryInfo* another = nullptr;
  Call(kCreateCpuMemoryInfo, kDeviceAllocator, kDefaultMemory, &another);
  api_(kReleaseMemoryInfo, another);
  api_(kReleaseEnv, environment);
}

TEST_F(ApiTest, SessionsSayWhatTheyAre) {
  OrtSessionOptions* options = Options();
  Call(kSetSessionLogId, options, "test");
  Call(kSetIntraOpNumThreads, options, 1);
  Call(kSetInterOpNumThreads, options, 2);
  Call(kSetSessionExecutionMode, options, kParallel);
  Call(kSetSessionGraphOptimizationLevel, options, kBasic);
  Call(kDisableMemPattern, options);
  Call(kAddSessionConfigEntry, options, "session.load_model_format", "ONNX");
  Call(kAddFreeDimensionOverrideByName, options, "batch", std::int64_t{3});
  OrtSession* session = Open(Doubling(), options);
  ASSERT_NE(session, nullptr);

  std::size_t count = 0;
  Call(kSessionGetInputCount, session, &count);
  EXPECT_EQ(count, 1U);
  Call(kSessionGetOutputCount, session, &count);
  EXPECT_EQ(count, 1U);
  Call(kSessionGetOverridableInitializerCount, session, &count);
  EXPECT_EQ(count, 1U);
  char* name = nullptr;
  Call(kSessionGetInputName, session, 0, library_.allocator(), &name);
  EXPECT_EQ(Take(name), "x");
  Call(kSessionGetOutputName, session, 0, library_.allocator(), &name);
  EXPECT_EQ(Take(name), "y");
  Call(kSessionGetOverridableInitializerName, session, 0, library_.allocator(), &name);
  EXPECT_EQ(Take(name), "w");

  const auto shape = [&](auto entry) {
    OrtTypeInfo* info = nullptr;
    Call(entry, session, 0, &info);
    const OrtTensorTypeAndShapeInfo* tensor = nullptr;
    Call(kCastTypeInfoToTensorInfo, info, &tensor);
    ElementType type{};
    Call(kGetTensorElementType, tensor, &type);
    EXPECT_EQ(type, kFloat);
    std::size_t dimensions = 0;
    Call(kGetDimensionsCount, tensor, &dimensions);
    std::vector<std::int64_t> sizes(dimensions);
    Call(kGetDimensions, tensor, sizes.data(), dimensions);
    api_(kReleaseTypeInfo, info);
    return sizes;
  };
  EXPECT_EQ(shape(kSessionGetInputTypeInfo), (std::vector<std::int64_t>{3, 2}));  // overridden
  EXPECT_EQ(shape(kSessionGetOutputTypeInfo), (std::vector<std::int64_t>{3, 2}));
  EXPECT_EQ(shape(kSessionGetOverridableInitializerTypeInfo), (std::vector<std::int64_t>{2}));

  OrtModelMetadata* metadata = nullptr;
  Call(kSessionGetModelMetadata, session, &metadata);
  char* value = nullptr;
  Call(kModelMetadataLookupCustomMetadataMap, metadata, library_.allocator(), "task", &value);
  EXPECT_EQ(Take(value), "double");
  value = nullptr;
  Call(kModelMetadataLookupCustomMetadataMap, metadata, library_.allocator(), "other", &value);
  EXPECT_EQ(value, nullptr);
  api_(kReleaseModelMetadata, metadata);
  api_(kReleaseSession, session);
}

TEST_F(ApiTest, OpenDimensionsHaveNames) {
  OrtSession* session = Open(Doubling(), Options());
  ASSERT_NE(session, nullptr);
  OrtTypeInfo* info = nullptr;
  Call(kSessionGetInputTypeInfo, session, 0, &info);
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;
  Call(kCastTypeInfoToTensorInfo, info, &tensor);
  std::array<const char*, 2> symbols{};
  Call(kGetSymbolicDimensions, tensor, symbols.data(), symbols.size());
  EXPECT_EQ(std::string_view(symbols[0]), "batch");
  EXPECT_EQ(std::string_view(symbols[1]), "");
  api_(kReleaseTypeInfo, info);
  api_(kReleaseSession, session);
}

TEST_F(ApiTest, RunsGoFromValuesToValuesAndCanBeTerminated) {
  OrtSession* session = Open(Doubling(), Options());
  ASSERT_NE(session, nullptr);
  std::array<float, 4> data = {1, 2, 3, 4};
  const std::array<std::int64_t, 2> shape = {2, 2};
  OrtValue* input = Floats(data, shape);
  const char* input_name = "x";
  const char* output_name = "y";
  OrtValue* output = nullptr;
  OrtRunOptions* options = nullptr;
  Call(kCreateRunOptions, &options);
  Call(kRunOptionsSetRunLogSeverityLevel, options, static_cast<int>(kFatal));
  Call(kRun, session, options, &input_name, &input, std::size_t{1}, &output_name, std::size_t{1},
       &output);
  ASSERT_NE(output, nullptr);

  OnnxType type{};
  Call(kGetValueType, output, &type);
  EXPECT_EQ(type, kTensorType);
  OrtTensorTypeAndShapeInfo* info = nullptr;
  Call(kGetTensorTypeAndShape, output, &info);
  std::array<std::int64_t, 2> sizes{};
  Call(kGetDimensions, info, sizes.data(), sizes.size());
  EXPECT_EQ(sizes, shape);
  api_(kReleaseTensorTypeAndShapeInfo, info);
  void* numbers = nullptr;
  Call(kGetTensorMutableData, output, &numbers);
  EXPECT_FLOAT_EQ(static_cast<float*>(numbers)[3], 8);
  api_(kReleaseValue, output);

  Call(kRunOptionsSetTerminate, options);
  output = nullptr;
  EXPECT_FALSE(
      library_.Check(api_(kRun, session, options, &input_name, &input, 1, &output_name, 1, &output))
          .ok());
  api_(kReleaseRunOptions, options);
  api_(kReleaseValue, input);
  api_(kReleaseSession, session);
}

TEST_F(ApiTest, StringsGoIntoTensorsAndOut) {
  const std::array<std::int64_t, 1> shape = {2};
  OrtAllocator* allocator = nullptr;
  Call(kGetAllocatorWithDefaultOptions, &allocator);
  OrtValue* value = nullptr;
  Call(kCreateTensorAsOrtValue, allocator, shape.data(), shape.size(), kString, &value);
  using std::string_view_literals::operator""sv;
  std::size_t index = 0;
  for (const std::string_view text : {"a\0b"sv, "second"sv}) {
    char* buffer = nullptr;
    Call(kGetResizedStringTensorElementBuffer, value, index, text.size(), &buffer);
    std::memcpy(buffer, text.data(), text.size());
    ++index;
  }
  std::size_t bytes = 0;
  Call(kGetStringTensorDataLength, value, &bytes);
  ASSERT_EQ(bytes, 9U);
  std::string all(bytes, ' ');
  std::array<std::size_t, 2> starts{};
  Call(kGetStringTensorContent, value, static_cast<void*>(all.data()), bytes, starts.data(),
       starts.size());
  EXPECT_EQ(all, "a\0bsecond"sv);
  EXPECT_EQ(starts[1], 3U);
  api_(kReleaseValue, value);
}

}  // namespace
}  // namespace inferpool::ort
