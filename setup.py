"""Builds the one extension module and the one executable; everything else is declared in pyproject.toml.

Switches, read from the environment (unset, empty or 0 means off):

    VGI_FAST_DEBUG=1      assertions and live-object counters in the core
    VGI_FAST_SANITIZE=1   AddressSanitizer and UndefinedBehaviorSanitizer
    VGI_FAST_LINETRACE=1      Cython line tracing, for coverage of the core
    VGI_FAST_ANNOTATE=1   write _core.html beside the generated C
"""

import os
from glob import glob

# isort: off
# setuptools provides distutils, so it comes first.
import numpy
from setuptools import Extension, setup
from Cython.Build import cythonize
from distutils.ccompiler import new_compiler
from distutils.command.build_scripts import build_scripts
from distutils.sysconfig import customize_compiler
# isort: on


def switched_on(name: str) -> bool:
    return os.environ.get(name, "0") not in ("", "0")


debug = switched_on("VGI_FAST_DEBUG")
sanitize = switched_on("VGI_FAST_SANITIZE")
trace = switched_on("VGI_FAST_LINETRACE")

compile_args = ["-std=c11", "-O3", "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-parameter",
                "-Wno-missing-field-initializers", "-Wno-sign-compare", "-fno-strict-aliasing"]
link_args: list[str] = []
macros = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"), ("VGI_FAST_DEBUG", "1" if debug else "0")]
if sanitize:
    compile_args += ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer",
                     "-fno-sanitize-recover=undefined"]
    link_args += ["-fsanitize=address,undefined"]
if trace:
    macros += [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]

core = Extension(
    "vgi_fast._core",
    sources=["src/vgi_fast/_core.pyx"],
    depends=glob("src/vgi_fast/_core_parts/*.pxi") + glob("src/vgi_fast/_core_parts/*.h"),
    include_dirs=[numpy.get_include()],
    define_macros=macros,
    extra_compile_args=compile_args,
    extra_link_args=link_args,
)

RUN_SOURCES = sorted(glob("src/vgi_fast/native/*.c"))


class BuildScripts(build_scripts):
    """The scripts are the sources of ``vgi-fast-run``, which is installed beside the interpreter."""

    def run(self):
        compiler = new_compiler(verbose=self.verbose, force=True)
        customize_compiler(compiler)
        objects = compiler.compile(
            RUN_SOURCES,
            output_dir=self.get_finalized_command("build").build_temp,
            macros=[("VGI_FAST_VERSION", f'"{self.distribution.get_version()}"')],
            extra_postargs=["-std=c11", "-O2", "-Wall", "-Wextra"],
        )
        compiler.link_executable(objects, "vgi-fast-run", output_dir=self.build_dir)


setup(
    scripts=RUN_SOURCES,
    cmdclass={"build_scripts": BuildScripts},
    ext_modules=cythonize(
        [core],
        include_path=["src/vgi_fast"],
        annotate=switched_on("VGI_FAST_ANNOTATE"),
        compiler_directives={
            "language_level": 3,
            # Checked indexing of lists and tuples stays on: it costs nothing where it matters, the kernels
            # and the decoder work on pointers.
            "initializedcheck": False,
            "cdivision": True,
            "autotestdict": False,
            "embedsignature": False,
            "linetrace": trace,
        },
    )
)
