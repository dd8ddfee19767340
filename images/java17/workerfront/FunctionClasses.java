package workerfront;

import java.io.File;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The class path of a function: its own classes, what the image build compiled, its jars. */
final class FunctionClasses {
  private FunctionClasses() {}

  static ClassLoader loader(File functionDir) throws MalformedURLException {
    File code = new File(functionDir, "code");
    List<URL> urls = new ArrayList<>();
    urls.add(folder(code));
    urls.add(folder(new File(functionDir, "classes")));
    addJars(urls, code);
    addJars(urls, new File(code, "lib"));
    return new URLClassLoader(urls.toArray(new URL[0]), Bootstrap.class.getClassLoader());
  }

  /** Ends with a slash even if the folder does not exist: the loader takes anything else for a jar. */
  private static URL folder(File path) throws MalformedURLException {
    String text = path.toURI().toURL().toString();
    return new URL(text.endsWith("/") ? text : text + "/");
  }

  private static void addJars(List<URL> urls, File folder) throws MalformedURLException {
    File[] jars = folder.listFiles((dir, name) -> name.endsWith(".jar"));
    if (jars == null) {
      return;
    }
    Arrays.sort(jars);
    for (File jar : jars) {
      urls.add(jar.toURI().toURL());
    }
  }
}
