// The part of ONNX Runtime's C API that this server uses, written from its documentation.
//
// The library has one exported function, OrtGetApiBase. It leads to a table of functions, which
// newer versions only append to: the place of an entry never changes. So an Entry below is a place
// and a type, and the table is an array. api_test.cc calls each of them, and
// tests/interop/onnxruntime_api/run.py compares their places with the real header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace inferpool::ort {

// What the functions hand out. Only pointers to them exist here. A Status is null when the call
// succeeded.
struct OrtEnv;
struct OrtStatus;
struct OrtMemoryInfo;
struct OrtSession;
struct OrtValue;
struct OrtRunOptions;
struct OrtTypeInfo;
struct OrtTensorTypeAndShapeInfo;
struct OrtSessionOptions;
struct OrtModelMetadata;

// Where memory comes from; ours or the library's. A library reads further members only of those
// that have a later version than ours.
struct OrtAllocator {
  std::uint32_t version;
  void* (*allocate)(OrtAllocator* self, std::size_t bytes);  // null when there is no more
  void (*free)(OrtAllocator* self, void* memory);
  const OrtMemoryInfo* (*info)(const OrtAllocator* self);
};

// The version of the table that is asked for, the first one that has all of the entries below
// (ONNX Runtime 1.15). A library that is older than that does not give it.
inline constexpr std::uint32_t kApiVersion = 15;

using ApiTable = void (*const*)();

struct OrtApiBase {
  ApiTable (*get_api)(std::uint32_t version);
  const char* (*get_version_string)();
};

inline constexpr const char* kEntryPoint = "OrtGetApiBase";
using GetApiBase = const OrtApiBase* (*)();

// The API's enumerations.
enum LoggingLevel : int { kVerbose = 0, kInfo = 1, kWarning = 2, kError = 3, kFatal = 4 };
enum ErrorCode : int {
  kFail = 1,
  kInvalidArgument = 2,
  kNoSuchFile = 3,
  kNoModel = 4,
  kRuntimeException = 6,
  kInvalidProtobuf = 7,
  kNotImplemented = 9,
  kInvalidGraph = 10,
};
enum OptimizationLevel : int { kDisableAll = 0, kBasic = 1, kExtended = 2, kAll = 99 };
enum ExecutionMode : int { kSequential = 0, kParallel = 1 };
enum AllocatorType : int { kDeviceAllocator = 0 };
enum MemoryType : int { kDefaultMemory = 0 };
enum OnnxType : int { kTensorType = 1 };
enum ElementType : int {
  kUndefined = 0,
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kBfloat16 = 16,
};

using LoggingFunction = void (*)(void* parameter, LoggingLevel severity, const char* category,
                                 const char* log_id, const char* code_location,
                                 const char* message);

// An entry of the table: its place, and what the function there takes and returns.
template <std::size_t kPlace, typename Signature>
struct Entry {};

// clang-format off
// Errors. The message lives as long as its status.
inline constexpr Entry<1, ErrorCode(const OrtStatus*)> kGetErrorCode;
inline constexpr Entry<2, const char*(const OrtStatus*)> kGetErrorMessage;
inline constexpr Entry<93, void(OrtStatus*)> kReleaseStatus;

// The environment, of which a process has one.
inline constexpr Entry<4, OrtStatus*(LoggingFunction, void* parameter, LoggingLevel, const char* log_id, OrtEnv**)> kCreateEnvWithCustomLogger;
inline constexpr Entry<6, OrtStatus*(const OrtEnv*)> kDisableTelemetryEvents;
inline constexpr Entry<69, OrtStatus*(AllocatorType, MemoryType, OrtMemoryInfo**)> kCreateCpuMemoryInfo;
inline constexpr Entry<92, void(OrtEnv*)> kReleaseEnv;
inline constexpr Entry<94, void(OrtMemoryInfo*)> kReleaseMemoryInfo;
inline constexpr Entry<176, OrtStatus*(OrtEnv*, OrtAllocator*)> kRegisterAllocator;

// The allocator of the names that other functions return.
inline constexpr Entry<76, OrtStatus*(OrtAllocator*, void*)> kAllocatorFree;
inline constexpr Entry<78, OrtStatus*(OrtAllocator**)> kGetAllocatorWithDefaultOptions;

// How a session is made.
inline constexpr Entry<10, OrtStatus*(OrtSessionOptions**)> kCreateSessionOptions;
inline constexpr Entry<13, OrtStatus*(OrtSessionOptions*, ExecutionMode)> kSetSessionExecutionMode;
inline constexpr Entry<17, OrtStatus*(OrtSessionOptions*)> kDisableMemPattern;
inline constexpr Entry<20, OrtStatus*(OrtSessionOptions*, const char*)> kSetSessionLogId;
inline constexpr Entry<23, OrtStatus*(OrtSessionOptions*, OptimizationLevel)> kSetSessionGraphOptimizationLevel;
inline constexpr Entry<24, OrtStatus*(OrtSessionOptions*, int)> kSetIntraOpNumThreads;
inline constexpr Entry<25, OrtStatus*(OrtSessionOptions*, int)> kSetInterOpNumThreads;
inline constexpr Entry<100, void(OrtSessionOptions*)> kReleaseSessionOptions;
inline constexpr Entry<124, OrtStatus*(OrtSessionOptions*, const char* name, std::int64_t size)> kAddFreeDimensionOverrideByName;
inline constexpr Entry<130, OrtStatus*(OrtSessionOptions*, const char* key, const char* value)> kAddSessionConfigEntry;

// A session: a model that is loaded and can run.
inline constexpr Entry<7, OrtStatus*(const OrtEnv*, const char* file, const OrtSessionOptions*, OrtSession**)> kCreateSession;
inline constexpr Entry<30, OrtStatus*(const OrtSession*, std::size_t*)> kSessionGetInputCount;
inline constexpr Entry<31, OrtStatus*(const OrtSession*, std::size_t*)> kSessionGetOutputCount;
inline constexpr Entry<32, OrtStatus*(const OrtSession*, std::size_t*)> kSessionGetOverridableInitializerCount;
inline constexpr Entry<33, OrtStatus*(const OrtSession*, std::size_t, OrtTypeInfo**)> kSessionGetInputTypeInfo;
inline constexpr Entry<34, OrtStatus*(const OrtSession*, std::size_t, OrtTypeInfo**)> kSessionGetOutputTypeInfo;
inline constexpr Entry<35, OrtStatus*(const OrtSession*, std::size_t, OrtTypeInfo**)> kSessionGetOverridableInitializerTypeInfo;
inline constexpr Entry<36, OrtStatus*(const OrtSession*, std::size_t, OrtAllocator*, char**)> kSessionGetInputName;
inline constexpr Entry<37, OrtStatus*(const OrtSession*, std::size_t, OrtAllocator*, char**)> kSessionGetOutputName;
inline constexpr Entry<38, OrtStatus*(const OrtSession*, std::size_t, OrtAllocator*, char**)> kSessionGetOverridableInitializerName;
inline constexpr Entry<95, void(OrtSession*)> kReleaseSession;
inline constexpr Entry<111, OrtStatus*(const OrtSession*, OrtModelMetadata**)> kSessionGetModelMetadata;
inline constexpr Entry<116, OrtStatus*(const OrtModelMetadata*, OrtAllocator*, const char* key, char** value)> kModelMetadataLookupCustomMetadataMap;
inline constexpr Entry<118, void(OrtModelMetadata*)> kReleaseModelMetadata;

// A run. An output that is not null is written to; for a null one a value is made.
inline constexpr Entry<9, OrtStatus*(OrtSession*, const OrtRunOptions*, const char* const* input_names, const OrtValue* const* inputs, std::size_t input_count, const char* const* output_names, std::size_t output_count, OrtValue** outputs)> kRun;
inline constexpr Entry<39, OrtStatus*(OrtRunOptions**)> kCreateRunOptions;
inline constexpr Entry<41, OrtStatus*(OrtRunOptions*, int)> kRunOptionsSetRunLogSeverityLevel;
inline constexpr Entry<46, OrtStatus*(OrtRunOptions*)> kRunOptionsSetTerminate;
inline constexpr Entry<97, void(OrtRunOptions*)> kReleaseRunOptions;

// Types and values.
inline constexpr Entry<55, OrtStatus*(const OrtTypeInfo*, const OrtTensorTypeAndShapeInfo**)> kCastTypeInfoToTensorInfo;
inline constexpr Entry<60, OrtStatus*(const OrtTensorTypeAndShapeInfo*, ElementType*)> kGetTensorElementType;
inline constexpr Entry<61, OrtStatus*(const OrtTensorTypeAndShapeInfo*, std::size_t*)> kGetDimensionsCount;
inline constexpr Entry<62, OrtStatus*(const OrtTensorTypeAndShapeInfo*, std::int64_t*, std::size_t)> kGetDimensions;
inline constexpr Entry<63, OrtStatus*(const OrtTensorTypeAndShapeInfo*, const char**, std::size_t)> kGetSymbolicDimensions;
inline constexpr Entry<98, void(OrtTypeInfo*)> kReleaseTypeInfo;
inline constexpr Entry<99, void(OrtTensorTypeAndShapeInfo*)> kReleaseTensorTypeAndShapeInfo;
inline constexpr Entry<48, OrtStatus*(OrtAllocator*, const std::int64_t* shape, std::size_t dimensions, ElementType, OrtValue**)> kCreateTensorAsOrtValue;
inline constexpr Entry<49, OrtStatus*(const OrtMemoryInfo*, void* data, std::size_t bytes, const std::int64_t* shape, std::size_t dimensions, ElementType, OrtValue**)> kCreateTensorWithDataAsOrtValue;
inline constexpr Entry<51, OrtStatus*(OrtValue*, void**)> kGetTensorMutableData;
inline constexpr Entry<53, OrtStatus*(const OrtValue*, std::size_t*)> kGetStringTensorDataLength;
inline constexpr Entry<54, OrtStatus*(const OrtValue*, void*, std::size_t bytes, std::size_t* offsets, std::size_t count)> kGetStringTensorContent;
inline constexpr Entry<65, OrtStatus*(const OrtValue*, OrtTensorTypeAndShapeInfo**)> kGetTensorTypeAndShape;
inline constexpr Entry<67, OrtStatus*(const OrtValue*, OnnxType*)> kGetValueType;
inline constexpr Entry<96, void(OrtValue*)> kReleaseValue;
inline constexpr Entry<252, OrtStatus*(OrtValue*, std::size_t index, std::size_t bytes, char** buffer)> kGetResizedStringTensorElementBuffer;
// clang-format on

// The table of a loaded library. Thread safe.
class Api {
 public:
  explicit Api(ApiTable table) : table_(table) {}

  // Calls the function at the entry's place.
  template <std::size_t kPlace, typename Result, typename... Arguments>
  Result operator()(Entry<kPlace, Result(Arguments...)> /*entry*/,
                    std::type_identity_t<Arguments>... arguments) const {
    return reinterpret_cast<Result (*)(Arguments...)>(table_[kPlace])(arguments...);
  }

 private:
  ApiTable table_;
};

}  // namespace inferpool::ort
