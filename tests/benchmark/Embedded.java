import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.io.FileReader;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;

/**
 * Debezium's engine in front of nobody: events become JSON and are thrown away.
 *
 * Arguments: a file of Debezium's properties; a file whose first eight bytes always tell how many events came so far, in the
 * machine's byte order; how many it ends after.
 */
public final class Embedded {

    private static String failure;

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (FileReader reader = new FileReader(arguments[0])) {
            properties.load(reader);
        }
        MappedByteBuffer progress;
        try (FileChannel channel = FileChannel.open(Path.of(arguments[1]), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            progress = channel.map(FileChannel.MapMode.READ_WRITE, 0, Long.BYTES);
        }
        progress.order(java.nio.ByteOrder.nativeOrder());
        long expected = Long.parseLong(arguments[2]);
        CountDownLatch ended = new CountDownLatch(1);
        DebeziumEngine<ChangeEvent<String, String>> engine = DebeziumEngine.create(Json.class)
            .using(properties)
            .using((success, message, error) -> {
                failure = success ? null : message;
                ended.countDown();
            })
            .notifying((List<ChangeEvent<String, String>> events, DebeziumEngine.RecordCommitter<ChangeEvent<String, String>> committer) -> {
                for (ChangeEvent<String, String> event : events) {
                    committer.markProcessed(event);
                }
                committer.markBatchFinished();
                long count = progress.getLong(0) + events.size();
                progress.putLong(0, count);
                if (count >= expected) {
                    ended.countDown();
                }
            })
            .build();
        Thread runner = new Thread(engine, "engine");
        runner.start();
        ended.await();
        engine.close();
        runner.join();
        if (failure != null) {
            System.err.println(failure);
            System.exit(1);
        }
        System.exit(0);
    }
}
