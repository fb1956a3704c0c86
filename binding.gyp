{
  'variables': {
    # The sources of one folder, as gyp wants them.
    'cc_in': "node -p \"const d=process.argv[1];require('fs').readdirSync(d).filter(f=>f.endsWith('.cc')).sort().map(f=>d+'/'+f).join(' ')\"",
  },
  'target_defaults': {
    'include_dirs': ['native'],
    'cflags!': ['-fno-omit-frame-pointer', '-Wno-unused-parameter'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': [
      '-std=c++20', '-O3', '-fPIC', '-fno-plt', '-fno-fast-math', '-ffp-contract=off', '-fno-lto',
      '-fvisibility=hidden', '-fvisibility-inlines-hidden', '-Wall', '-Wextra', '-Werror',
    ],
    'xcode_settings': {
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
      'CLANG_CXX_LIBRARY': 'libc++',
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'GCC_ENABLE_CPP_RTTI': 'YES',
      'GCC_OPTIMIZATION_LEVEL': '3',
      'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
      'GCC_TREAT_WARNINGS_AS_ERRORS': 'YES',
      'LLVM_LTO': 'NO',
      'MACOSX_DEPLOYMENT_TARGET': '11.0',
      'OTHER_CPLUSPLUSFLAGS': ['-fno-fast-math', '-ffp-contract=off', '-fvisibility-inlines-hidden'],
      'WARNING_CFLAGS': ['-Wall', '-Wextra'],
    },
    'msvs_settings': {
      'VCCLCompilerTool': {
        'ExceptionHandling': 1,
        'RuntimeTypeInfo': 'true',
        'WarnAsError': 'true',
        'WholeProgramOptimization': 'false',
        'AdditionalOptions': ['/std:c++20', '/O2', '/W3', '/fp:precise', '/utf-8'],
      },
    },
    'conditions': [
      ['target_arch=="x64"', { 'defines': ['VERDANT_HAVE_X64=1'] }],
      ['OS=="win"', { 'defines': ['NOMINMAX', 'WIN32_LEAN_AND_MEAN'] }],
    ],
  },
  'targets': [
    {
      'target_name': 'verdant',
      'sources': ['<!@(<(cc_in) native/node)'],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'dependencies': ['core', 'cpu'],
      # An environment that is being torn down takes no exceptions: without SWALLOW, a throw then ends the process.
      'defines': [
        'NAPI_VERSION=9', 'NODE_ADDON_API_CPP_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED',
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS', 'VERDANT_ABI=0x<!(node scripts/abi.mjs)',
      ],
      # Our pool's threads may still run inside the library when a worker thread that loaded it ends: never unload it.
      'conditions': [['OS=="linux"', { 'ldflags': ['-Wl,-z,nodelete', '-Wl,-z,now'] }]],
    },
    {
      'target_name': 'core',
      'type': 'static_library',
      'sources': ['<!@(<(cc_in) native/core)'],
      # Comparisons of the encoders become vectors; no value changes.
      'cflags_cc': ['-fno-trapping-math'],
    },
    {
      'target_name': 'cpu',
      'type': 'static_library',
      'sources': ['<!@(<(cc_in) native/cpu)'],
      'dependencies': ['core', 'isa_generic'],
      'conditions': [
        ['target_arch=="x64"', { 'dependencies': ['isa_avx2', 'isa_avx512', 'isa_avx512_vnni', 'isa_avx512_bf16', 'isa_avx512_amx_bf16',
                                                  'isa_avx512_amx_int8'] }],
      ],
    },
    {
      'target_name': 'isa_generic',
      'type': 'static_library',
      'sources': ['native/cpu/isa/generic.cc'],
      # -O3 takes three times as long for the reading copy, whose loops of 16 are vectors either way.
      'cflags_cc': ['-O2'],
    },
    {
      # What the machine can do at most: `verdant bench` alone loads it.
      'target_name': 'verdant_ceilings',
      'sources': ['<!@(<(cc_in) native/ceilings)'],
      'defines': ['NAPI_VERSION=9'],
      'conditions': [
        ['OS=="linux"', { 'ldflags': ['-pthread', '-Wl,-z,nodelete', '-Wl,-z,now'] }],
        ['target_arch=="x64"', {
          'dependencies': ['isa_ceilings_avx2', 'isa_ceilings_avx512', 'isa_ceilings_vnni', 'isa_ceilings_bf16', 'isa_ceilings_amx'],
        }],
      ],
    },
  ],
  'conditions': [
    ['target_arch=="x64"', {
      # One library per instruction-set tier, each with its own flags; only dispatch decides which of them runs.
      # GCC 12 calls the undefined lanes of its own intrinsics uninitialised (GCC bug 105593): those two warnings are off here.
      'variables': {
        'avx2': ['-mavx2', '-mfma', '-mf16c', '-mbmi2'],
        'avx512': ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx2', '-mfma', '-mf16c'],
        'amx': ['-mamx-tile'],
        'quiet': ['-Wno-uninitialized', '-Wno-maybe-uninitialized'],
      },
      'targets': [
        {
          'target_name': 'isa_avx2',
          'type': 'static_library',
          'sources': ['native/cpu/isa/avx2.cc'],
          'cflags_cc': ['<@(avx2)', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx2)'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX2'] } },
        },
        {
          'target_name': 'isa_avx512',
          'type': 'static_library',
          'sources': ['native/cpu/isa/avx512.cc'],
          'cflags_cc': ['<@(avx512)', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX512'] } },
        },
        {
          'target_name': 'isa_avx512_vnni',
          'type': 'static_library',
          'sources': ['native/cpu/isa/avx512_vnni.cc'],
          'cflags_cc': ['<@(avx512)', '-mavx512vnni', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)', '-mavx512vnni'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX512'] } },
        },
        {
          'target_name': 'isa_avx512_bf16',
          'type': 'static_library',
          'sources': ['native/cpu/isa/avx512_bf16.cc'],
          'cflags_cc': ['<@(avx512)', '-mavx512bf16', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)', '-mavx512bf16'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX512'] } },
        },
        {
          'target_name': 'isa_avx512_amx_bf16',
          'type': 'static_library',
          'sources': ['native/cpu/isa/avx512_amx_bf16.cc'],
          'cflags_cc': ['<@(avx512)', '<@(amx)', '-mamx-bf16', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)', '<@(amx)', '-mamx-bf16'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX512'] } },
        },
        {
          'target_name': 'isa_avx512_amx_int8',
          'type': 'static_library',
          'sources': ['native/cpu/isa/avx512_amx_int8.cc'],
          'cflags_cc': ['<@(avx512)', '<@(amx)', '-mamx-int8', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)', '<@(amx)', '-mamx-int8'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX512'] } },
        },
        {
          'target_name': 'isa_ceilings_avx2',
          'type': 'static_library',
          'sources': ['native/ceilings/isa/avx2.cc'],
          'cflags_cc': ['<@(avx2)', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx2)'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX2'] } },
        },
        {
          'target_name': 'isa_ceilings_avx512',
          'type': 'static_library',
          'sources': ['native/ceilings/isa/avx512.cc'],
          'cflags_cc': ['<@(avx512)', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX512'] } },
        },
        {
          'target_name': 'isa_ceilings_vnni',
          'type': 'static_library',
          'sources': ['native/ceilings/isa/avx512_vnni.cc'],
          'cflags_cc': ['<@(avx512)', '-mavx512vnni', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)', '-mavx512vnni'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX512'] } },
        },
        {
          'target_name': 'isa_ceilings_bf16',
          'type': 'static_library',
          'sources': ['native/ceilings/isa/avx512_bf16.cc'],
          'cflags_cc': ['<@(avx512)', '-mavx512bf16', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)', '-mavx512bf16'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX512'] } },
        },
        {
          'target_name': 'isa_ceilings_amx',
          'type': 'static_library',
          'sources': ['native/ceilings/isa/avx512_amx.cc'],
          'cflags_cc': ['<@(avx512)', '<@(amx)', '-mamx-bf16', '<@(quiet)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512)', '<@(amx)', '-mamx-bf16'] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/arch:AVX512'] } },
        },
      ],
    }],
  ],
}
