// Files by java.nio: a walk with attributes, lines, a mapped channel, a copy; what it says of the folder args[0] is the
// same wherever the folder is.
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.CRC32;

public class Reads {
    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        try (var walk = Files.walk(folder)) {
            for (Path path : walk.sorted().toList())
                System.out.println(path + " " + Files.isDirectory(path) + " " + Files.isSymbolicLink(path)
                    + " " + (Files.isRegularFile(path) ? Files.size(path) : 0)
                    + " " + Files.getLastModifiedTime(path, LinkOption.NOFOLLOW_LINKS)
                    + " " + Files.getAttribute(path, "unix:mode", LinkOption.NOFOLLOW_LINKS));
        }
        Path large = folder.resolve("large");
        CRC32 sum = new CRC32();
        try (var channel = FileChannel.open(large, StandardOpenOption.READ)) {
            sum.update(channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size()));
        }
        System.out.println(sum.getValue() + " " + folder.resolve("link").toRealPath());
        System.out.println(Files.readAllLines(folder.resolve("lines")).size());
        Path copy = Files.copy(large, Path.of("/tmp/copy-of-java"));
        System.out.println(Files.mismatch(large, copy) + " " + Files.notExists(folder.resolve("none")));
        Files.delete(copy);
    }
}
