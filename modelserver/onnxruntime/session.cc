#include "modelserver/onnxruntime/session.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "shared/base/utf8.h"

namespace inferpool::ort {
namespace {

using TypeInfo = Handle<OrtTypeInfo, kReleaseTypeInfo>;

// A text that the library's allocator made.
std::string TakeText(const Library& library, char* text) {
  std::string copy = text == nullptr ? "" : text;
  if (text != nullptr) {
    library.Check(library.api()(kAllocatorFree, library.allocator(), text)).IgnoreError();
  }
  return copy;
}

absl::StatusOr<TensorType> DescribeType(const Library& library, std::string name,
                                        const TypeInfo& info) {
  const Api& api = library.api();
  if (!IsUtf8(name)) {
    return InvalidArgument("'{}' is not UTF-8, as a tensor's name must be", Utf8Text(name, 100));
  }
  TensorType described{.name = std::move(name)};
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;  // belongs to `info`
  RETURN_IF_ERROR(library.Check(api(kCastTypeInfoToTensorInfo, info.get(), &tensor)));
  if (tensor == nullptr) {
    return described;
  }
  ElementType type{};
  RETURN_IF_ERROR(library.Check(api(kGetTensorElementType, tensor, &type)));
  described.datatype = FromElementType(type);
  std::size_t dimensions = 0;
  RETURN_IF_ERROR(library.Check(api(kGetDimensionsCount, tensor, &dimensions)));
  described.shape.resize(dimensions);
  RETURN_IF_ERROR(library.Check(api(kGetDimensions, tensor, described.shape.data(), dimensions)));
  std::vector<const char*> symbols(dimensions);
  RETURN_IF_ERROR(
      library.Check(api(kGetSymbolicDimensions, tensor, symbols.data(), symbols.size())));
  for (std::size_t i = 0; i < dimensions; ++i) {
    // A size of 0 makes no tensor that could be asked for.
    described.shape[i] = described.shape[i] > 0 ? described.shape[i] : -1;
    described.symbols.emplace_back(symbols[i] == nullptr ? "" : symbols[i]);
  }
  return described;
}

// The three calls that tell of a kind of inputs or outputs.
template <typename Count, typename Name, typename Type>
absl::Status DescribeAll(const Library& library, const OrtSession* session, Count count_of,
                         Name name_of, Type type_of, bool optional,
                         std::vector<TensorType>& described) {
  const Api& api = library.api();
  std::size_t count = 0;
  RETURN_IF_ERROR(library.Check(api(count_of, session, &count)));
  for (std::size_t i = 0; i < count; ++i) {
    char* name = nullptr;
    RETURN_IF_ERROR(library.Check(api(name_of, session, i, library.allocator(), &name)));
    std::string owned = TakeText(library, name);
    OrtTypeInfo* made = nullptr;
    RETURN_IF_ERROR(library.Check(api(type_of, session, i, &made)));
    const TypeInfo info(made, {&api});
    ASSIGN_OR_RETURN(TensorType type, DescribeType(library, std::move(owned), info));
    type.optional = optional;
    described.push_back(std::move(type));
  }
  return absl::OkStatus();
}

using Options = Handle<OrtSessionOptions, kReleaseSessionOptions>;

absl::StatusOr<Options> MakeOptions(const Library& library, const SessionSettings& settings) {
  const Api& api = library.api();
  OrtSessionOptions* made = nullptr;
  RETURN_IF_ERROR(library.Check(api(kCreateSessionOptions, &made)));
  Options options(made, {&api});
  RETURN_IF_ERROR(library.Check(api(kSetSessionLogId, made, settings.log_id.c_str())));
  RETURN_IF_ERROR(library.Check(api(kSetIntraOpNumThreads, made, settings.intra_op_threads)));
  RETURN_IF_ERROR(library.Check(api(kSetInterOpNumThreads, made, settings.inter_op_threads)));
  RETURN_IF_ERROR(library.Check(
      api(kSetSessionExecutionMode, made, settings.parallel ? kParallel : kSequential)));
  RETURN_IF_ERROR(
      library.Check(api(kSetSessionGraphOptimizationLevel, made, settings.optimization)));
  if (!settings.plan_memory) {
    RETURN_IF_ERROR(library.Check(api(kDisableMemPattern, made)));
  }
  constexpr std::array<std::pair<const char*, const char*>, 4> kEntries = {{
      {"session.use_env_allocators", "1"},       // the memory that all sessions share
      {"session.intra_op.allow_spinning", "0"},  // a thread that waits leaves its core to others
      {"session.inter_op.allow_spinning", "0"},
      {"session.load_model_format", "ONNX"},  // whatever the file's name is
  }};
  for (const auto& [key, value] : kEntries) {
    RETURN_IF_ERROR(library.Check(api(kAddSessionConfigEntry, made, key, value)));
  }
  for (const auto& [name, size] : settings.sizes) {
    RETURN_IF_ERROR(library.Check(api(kAddFreeDimensionOverrideByName, made, name.c_str(), size)));
  }
  return options;
}

// Ends a run when it is stopped.
class Terminator {
 public:
  Terminator(const Library& library, OrtRunOptions* options) : library_(library), run_(options) {}
  void operator()() const {
    library_.Check(library_.api()(kRunOptionsSetTerminate, run_)).IgnoreError();
  }

 private:
  const Library& library_;
  OrtRunOptions* run_;
};

}  // namespace

Session::Session(const Library& library, OrtSession* session)
    : library_(library), session_(session, {&library.api()}) {}

absl::StatusOr<std::unique_ptr<const Session>> Session::Open(const std::filesystem::path& file,
                                                             const SessionSettings& settings) {
  ASSIGN_OR_RETURN(const Library* library, Runtime());
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) {
    return InvalidArgument("{}: there is no such file", file.string());
  }
  ASSIGN_OR_RETURN(const Options options, MakeOptions(*library, settings));
  OrtSession* made = nullptr;
  const absl::Status opened = library->Check(
      library->api()(kCreateSession, library->environment(), file.c_str(), options.get(), &made));
  if (!opened.ok()) {
    return InvalidArgument("{}: {}", file.string(), Message(opened));
  }
  std::unique_ptr<Session> session(new Session(*library, made));
  if (const absl::Status status = session->Describe(); !status.ok()) {
    return InvalidArgument("{}: {}", file.string(), Message(status));
  }
  return session;
}

absl::Status Session::Describe() {
  RETURN_IF_ERROR(DescribeAll(library_, session_.get(), kSessionGetInputCount, kSessionGetInputName,
                              kSessionGetInputTypeInfo, false, inputs_));
  RETURN_IF_ERROR(DescribeAll(library_, session_.get(), kSessionGetOverridableInitializerCount,
                              kSessionGetOverridableInitializerName,
                              kSessionGetOverridableInitializerTypeInfo, true, inputs_));
  return DescribeAll(library_, session_.get(), kSessionGetOutputCount, kSessionGetOutputName,
                     kSessionGetOutputTypeInfo, false, outputs_);
}

std::optional<std::string> Session::Metadata(const std::string& key) const {
  const Api& api = library_.api();
  OrtModelMetadata* made = nullptr;
  if (!library_.Check(api(kSessionGetModelMetadata, session_.get(), &made)).ok()) {
    return std::nullopt;
  }
  const Handle<OrtModelMetadata, kReleaseModelMetadata> metadata(made, {&api});
  char* value = nullptr;
  const absl::Status found = library_.Check(
      api(kModelMetadataLookupCustomMetadataMap, made, library_.allocator(), key.c_str(), &value));
  if (!found.ok() || value == nullptr) {
    return std::nullopt;
  }
  return TakeText(library_, value);
}

absl::Status Session::Run(std::span<const Named> inputs, std::span<const char* const> names,
                          std::span<Value> outputs, const std::stop_token& abandoned) const {
  const Api& api = library_.api();
  OrtRunOptions* made = nullptr;
  RETURN_IF_ERROR(library_.Check(api(kCreateRunOptions, &made)));
  const Handle<OrtRunOptions, kReleaseRunOptions> options(made, {&api});
  // What fails is this call's status; a client must not fill the log.
  RETURN_IF_ERROR(library_.Check(api(kRunOptionsSetRunLogSeverityLevel, made, kFatal)));
  std::vector<const char*> input_names;
  std::vector<const OrtValue*> input_values;
  for (const Named& input : inputs) {
    input_names.push_back(input.name);
    input_values.push_back(input.value->get());
  }
  std::vector<OrtValue*> values;
  for (Value& output : outputs) values.push_back(output.get());
  absl::Status status;
  {
    const std::stop_callback end(abandoned, Terminator(library_, made));
    status = library_.Check(api(kRun, session_.get(), options.get(), input_names.data(),
                                input_values.data(), input_values.size(), names.data(),
                                names.size(), values.data()));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!outputs[i] && values[i] != nullptr) {
      outputs[i].Reset(library_, values[i]);
    }
  }
  if (!status.ok() && abandoned.stop_requested()) {
    return absl::CancelledError("the callers went away while the model ran");
  }
  return status;
}

}  // namespace inferpool::ort
